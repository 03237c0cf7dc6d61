"""Does somebody else's machine own a policy? Found in labels, annotations and managedFields."""

from __future__ import annotations

import msgspec

from rollout.model.kubernetes import Metadata


class Owner(msgspec.Struct, frozen=True):
    """A GitOps tool; `heals` means that it puts its own state back."""

    name: str
    because: str
    heals: bool = True


_LABELS = (
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
)
_MANAGERS = (
    ("argocd", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
)


def owner(metadata: Metadata) -> Owner | None:
    """The owner, or None. Helm without a controller does not heal: its next upgrade overwrites."""
    both = {**metadata.annotations, **metadata.labels}
    for key, name in _LABELS:
        if key in both:
            return Owner(name, f"{key}: {both[key]}")
    for field in metadata.managed_fields:
        for prefix, name in _MANAGERS:
            if field.manager.startswith(prefix):
                return Owner(name, f"managedFields: {field.manager}")
    if metadata.labels.get("app.kubernetes.io/managed-by") == "Helm":
        release = metadata.annotations.get("meta.helm.sh/release-name", "a release")
        return Owner("Helm", f"meta.helm.sh/release-name: {release}", heals=False)
    return None
