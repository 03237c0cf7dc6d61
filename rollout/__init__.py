"""Takes Kubernetes namespaces in an Istio mesh to STRICT mutual TLS, and back by itself when that did harm."""

__version__ = "0.1.0"
