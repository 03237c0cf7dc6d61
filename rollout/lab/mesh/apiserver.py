"""kube-apiserver as a caller: admission webhooks whose Service stands in the mesh.

It speaks TLS without a mesh certificate: PERMISSIVE passes that through on a port that is not HTTP, STRICT refuses
it, and `failurePolicy: Fail` then refuses the write, be it the very one that would undo STRICT (istio.md 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.lab.api.status import ApiError
from rollout.lab.api.store import AdmissionRequest, failing
from rollout.lab.mesh.catalog import Catalog
from rollout.lab.mesh.traffic import Network, Traffic

_KINDS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")


class WebhookCaller:
    """An `Admission` of the store: asks whether the webhooks that a write concerns can be reached."""

    def __init__(self, catalog: Catalog, network: Network) -> None:
        """Read webhook configurations from the catalog."""
        self._catalog, self._network = catalog, network

    def __call__(self, request: AdmissionRequest) -> str | ApiError | None:
        """Refuse a write whose webhook cannot be called and fails closed; nothing else."""
        for webhook in self._webhooks():
            if webhook.get("failurePolicy", "Fail") == "Fail" and _concerns(webhook, request):
                service = (webhook.get("clientConfig") or {}).get("service")
                if service and not self._reachable(service):
                    url = f"https://{service['name']}.{service['namespace']}.svc:{service.get('port', 443)}"
                    path = service.get("path", "")
                    return failing(webhook["name"], f'failed to call webhook: Post "{url}{path}?timeout=10s": EOF')
        return None

    def _webhooks(self) -> Iterator[Mapping[str, Any]]:
        for kind in _KINDS:
            for configuration in self._catalog.objects(kind):
                yield from configuration.get("webhooks") or ()

    def _reachable(self, service: Mapping[str, Any]) -> bool:
        key, port = (service["namespace"], service["name"]), int(service.get("port") or 443)
        view = self._catalog.service(*key)
        if view is None or view.name == "istiod":
            return True  # served outside the simulated mesh
        traffic = Traffic("kube-apiserver", None, key, port, "tcp", own_tls=True)
        endpoints = self._network.destinations(traffic)
        return any(self._network.dial(traffic, None, pod).served for pod in endpoints) or any(
            self._network.dial(traffic, None, pod).answer is None for pod in endpoints
        )


def _concerns(webhook: Mapping[str, Any], request: AdmissionRequest) -> bool:
    def fits(values: Any, wanted: str) -> bool:
        return "*" in (values or ()) or wanted in (values or ())

    resource = request.resource
    name = f"{resource.plural}/{request.subresource}" if request.subresource else resource.plural
    return any(
        fits(rule.get("operations"), request.operation)
        and fits(rule.get("apiGroups"), resource.group)
        and fits(rule.get("resources"), name)
        for rule in webhook.get("rules") or ()
    )
