"""The Kubernetes API server reaches its webhooks and aggregated APIs.

Why: kube-apiserver calls admission webhooks, conversion webhooks and APIServices, and it has no mesh certificate. Under
STRICT such a call is refused: with failurePolicy Fail objects can no longer be written, perhaps not even the policy
that would undo the flip.

Fix: keep the one container port that kube-apiserver calls PERMISSIVE, and exempt that policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many
from rollout.mesh.injection import captured_port, live
from rollout.mesh.peer_authentication import Policies
from rollout.mesh.services import selects, target_ports
from rollout.mesh.workloads import workload
from rollout.model.finding import Finding
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import (
    APIService,
    CustomResourceDefinition,
    MutatingWebhookConfiguration,
    Pod,
    Ref,
    Service,
    ServiceReference,
    ValidatingWebhookConfiguration,
)
from rollout.record.state import State

META = Meta("apiserver-callers", State.CHECKING, __doc__)
READS = (
    MutatingWebhookConfiguration,
    ValidatingWebhookConfiguration,
    CustomResourceDefinition,
    APIService,
    Service,
    Pod,
    PeerAuthentication,
)
_CALLING = (CustomResourceDefinition, MutatingWebhookConfiguration, ValidatingWebhookConfiguration, APIService)


class _Call(msgspec.Struct, frozen=True):
    """kube-apiserver calls `service` on behalf of `ref`; `note` says what fails with it."""

    ref: Ref
    field: str
    service: ServiceReference
    note: str


def check(view: View) -> Findings:
    """One finding per call that leads to a STRICT port of the target."""
    policies = view.then.policies()
    services = {service.name: service for service in view.then.of(Service, view.target)}
    pods = [pod for pod in view.then.of(Pod, view.target) if live(pod)]
    calls = view.then.joined(_CALLING, _by_namespace).get(view.target, [])
    for call in calls:
        service = services.get(call.service.name)
        if service is None:
            continue
        mine = [pod for pod in pods if selects(service, pod)]
        for pod, port in _reached(call, service, mine):
            if captured_port(pod, port) and policies.effective(pod, port).mode is Mode.STRICT:
                yield _finding(call, service, pod, port, policies)
                break
    return f"{many(len(calls), 'call')} of kube-apiserver to {view.target}"


def _by_namespace(
    definitions: tuple[CustomResourceDefinition, ...],
    mutating: tuple[MutatingWebhookConfiguration, ...],
    validating: tuple[ValidatingWebhookConfiguration, ...],
    apis: tuple[APIService, ...],
) -> dict[str, list[_Call]]:
    found: dict[str, list[_Call]] = {}
    for call in (*_admitting(mutating), *_admitting(validating), *_converting(definitions), *_aggregated(apis)):
        found.setdefault(call.service.namespace, []).append(call)
    return found


def _admitting(
    configurations: Iterable[MutatingWebhookConfiguration | ValidatingWebhookConfiguration],
) -> Iterator[_Call]:
    for configuration in configurations:
        for place, webhook in enumerate(configuration.webhooks):
            if service := webhook.client_config.service:
                fails = webhook.failure_policy == "Fail"
                harm = "what it rules can no longer be written" if fails else "its rule is silently skipped"
                note = f"failurePolicy {webhook.failure_policy}: {harm}"
                yield _Call(configuration.ref, f"webhooks[{place}].clientConfig.service", service, note)


def _converting(definitions: Iterable[CustomResourceDefinition]) -> Iterator[_Call]:
    for definition in definitions:
        conversion = definition.spec.conversion
        if conversion and conversion.webhook and (client := conversion.webhook.client_config) and client.service:
            note = "objects of this kind can no longer be read in other versions"
            yield _Call(definition.ref, "spec.conversion.webhook.clientConfig.service", client.service, note)


def _aggregated(apis: Iterable[APIService]) -> Iterator[_Call]:
    for api in apis:
        if api.spec.service is not None:
            note = f"{api.name} becomes unavailable (autoscaling and namespace deletion may hang on it)"
            yield _Call(api.ref, "spec.service", api.spec.service, note)


def _reached(call: _Call, service: Service, pods: list[Pod]) -> Iterator[tuple[Pod, int]]:
    """The container ports behind the called port; 443 when the reference names none."""
    for service_port in service.spec.ports:
        if service_port.port == (call.service.port or 443):
            for pod in pods:
                if (port := target_ports(service_port, pod)) is not None:
                    yield pod, port


def _finding(call: _Call, service: Service, pod: Pod, port: int, policies: Policies) -> Finding:
    return Finding(
        ref=call.ref,
        field=call.field,
        measured=f"kube-apiserver calls {service.namespace}/{service.name} port {port} without a mesh certificate",
        limit=f"container port {port} PERMISSIVE",
        where=(call.note, f"for example {pod.ref}"),
        fix=_fix(service, pod, port, policies),
        exemption=f"{service.namespace}/{workload(pod).name}:{port}",
    )


def _fix(service: Service, pod: Pod, port: int, policies: Policies) -> str:
    """Where a policy selects the pod already, a younger one would be ignored: that one is patched."""
    mtls = f'"portLevelMtls":{{"{port}":{{"mode":"PERMISSIVE"}}}}'
    selecting = policies.workload_policy(pod)
    namespace = service.namespace
    if selecting is not None:
        ref = selecting.ref
        patch = f"'{{\"spec\":{{{mtls}}}}}'"
        command = f"kubectl patch peerauthentication {ref.name} -n {namespace} --type merge -p {patch}"
    else:
        name = f"{service.name}-apiserver"
        ref = Ref("PeerAuthentication", namespace, name)
        labels = ",".join(f'"{key}":"{value}"' for key, value in sorted(service.spec.selector.items()))
        body = (
            '{"apiVersion":"security.istio.io/v1beta1","kind":"PeerAuthentication",'
            f'"metadata":{{"name":"{name}","namespace":"{namespace}"}},'
            f'"spec":{{"selector":{{"matchLabels":{{{labels}}}}},{mtls}}}}}'
        )
        command = f"echo '{body}' | kubectl apply -f -"
    return f"{command}; then exempt {str(ref)!r}"
