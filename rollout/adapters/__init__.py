"""The only I/O: Kubernetes, Prometheus, istioctl, journal, lease, time and signals, as `rollout.ports` has them."""
