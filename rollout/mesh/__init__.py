"""Istio's and Kubernetes' own rules as pure functions: what the mesh does with the objects that are there."""
