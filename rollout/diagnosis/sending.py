"""What a client will send to a server's port, and which object decides it (istio.md 3.2, 7)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rollout.diagnosis.table import Client
from rollout.mesh.destination_rules import Rules, TLSSetting, ports_of, repair, tls_settings
from rollout.mesh.injection import (
    EXCLUDE_INTERFACES,
    TLS_MODE_LABEL,
    address,
    addressable,
    ambient,
    gateway,
    proxy_container,
    recaptured_interface,
    uncaptured_because,
)
from rollout.mesh.outbound import exclusions
from rollout.mesh.peer_authentication import Policies, permissive
from rollout.mesh.services import host
from rollout.mesh.workloads import patch_template, restart, workload
from rollout.model.istio import ClientTLSMode, DestinationRule, MeshConfig, Mode
from rollout.model.kubernetes import Namespace, Pod, Ref, Service

_BY_RULE = {
    ClientTLSMode.DISABLE: Client.DISABLE,
    ClientTLSMode.SIMPLE: Client.SIMPLE,
    ClientTLSMode.MUTUAL: Client.MUTUAL,
    ClientTLSMode.ISTIO_MUTUAL: Client.ISTIO_MUTUAL,
}

#: What turns off the capture of outbound traffic as well.
_NO_OUTBOUND = ("sidecar.istio.io/interceptionMode", "inject.istio.io/templates")


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """`by` is the deciding object, `field` the place in it; `subset`: only where a VirtualService routes to it."""

    client: Client
    because: str
    by: Ref
    field: str = ""
    fix: str = ""
    subset: str = ""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A client and one pod that it may reach.

    Args:
        client: the caller.
        server: the pod.
        port: the container's port.
        service: None where the pod is called by its own address.
        service_port: the port as it is dialled.
        backends: all live pods of the Service.
        namespace: the client's, for its ambient label.
    """

    client: Pod
    server: Pod
    port: int
    service: Service | None
    service_port: int
    backends: tuple[Pod, ...]
    namespace: Namespace | None = None


def sent(call: Call, rules: Iterable[DestinationRule], policies: Policies, mesh: MeshConfig) -> tuple[Sent, ...]:
    """What decides first comes first; then what differs in subsets of a DestinationRule."""
    early = _before_any_rule(call)
    if early is not None:
        return (early,)
    assert call.service is not None, "a call to a pod's own address is decided already"
    settings = _settings(call, call.service, rules, mesh)
    own = [s for s in settings if not s.subset and ports_of(s, settings, (call.service_port,))]
    first = _of_rule(own[0], mesh) if own else _auto(call, policies, mesh)
    subsets = [s for s in settings if s.subset and ports_of(s, settings, (call.service_port,))]
    others = [_of_rule(s, mesh) for s in subsets]
    return (first, *(other for other in others if other.client is not first.client))


def _before_any_rule(call: Call) -> Sent | None:
    """What never meets a DestinationRule: no proxy, or a proxy that does not know the address."""
    client = call.client
    if ambient(client, call.namespace):
        return Sent(client=Client.AMBIENT, because="ztunnel carries the client's traffic", by=client.ref)
    if proxy_container(client) is None:
        return Sent(
            client=Client.NO_SIDECAR, because="the client has no sidecar", by=client.ref, field="spec.containers",
            fix=f"give {workload(client)} a sidecar, as layer 1 says",
        )  # fmt: skip
    if past := _past_sidecar(call):
        return past
    if call.service is None:
        return Sent(
            client=Client.POD_ADDRESS, because="a sidecar knows Services, not pods: PassthroughCluster, plaintext",
            by=client.ref, fix="call the Service by its name, or declare the port in a headless Service",
        )  # fmt: skip
    if call.service.spec.type == "ExternalName" or not call.service.spec.selector:
        return Sent(
            client=Client.HAND_MADE, because="a Service without a selector does not tell what its endpoints can do",
            by=call.service.ref, field="spec.selector",
        )  # fmt: skip
    return None


def _past_sidecar(call: Call) -> Sent | None:
    if gateway(call.client):
        return None
    if (why := uncaptured_because(call.client)).startswith(_NO_OUTBOUND):
        name = why.partition(":")[0]
        return Sent(
            client=Client.PAST_SIDECAR, because=f"the client's sidecar captures nothing, {why}",
            by=call.client.ref, field=f"metadata.annotations[{name}]",
            fix=patch_template(workload(call.client), "annotations", name, None),
        )  # fmt: skip
    headless = call.service is None or call.service.headless
    service_address = call.service.spec.cluster_ip if call.service else ""
    addresses = [call.server.status.pod_ip] if headless else [service_address]
    port = call.port if headless else call.service_port
    reason = exclusions(call.client).reason(port, [a for a in addresses if a])
    if not reason:
        return None
    owner = workload(call.client)
    annotated = reason in call.client.annotations
    fix = patch_template(owner, "annotations", reason, None) if annotated else (
        f"take port {port} out of what the mesh's defaults exclude (global.proxy), then {restart(owner)}"
    )  # fmt: skip
    fix = recaptured_interface(call.client) if reason == EXCLUDE_INTERFACES else fix
    return Sent(
        client=Client.PAST_SIDECAR, because=f"{reason} lets the call pass by the client's sidecar",
        by=call.client.ref, field=f"metadata.annotations[{reason}]", fix=fix,
    )  # fmt: skip


def _settings(
    call: Call, service: Service, rules: Iterable[DestinationRule], mesh: MeshConfig
) -> tuple[TLSSetting, ...]:
    """Rules that select this very client go before those for everybody."""
    index = Rules(rules, mesh.root_namespace, mesh.default_destination_rule_export_to)
    deciding = index.deciding(call.client.namespace, service.namespace, host(service))
    mine = [rule for rule in deciding if _selects(rule, call.client)]
    return tls_settings(mine or [rule for rule in deciding if rule.spec.workload_selector is None])


def _selects(rule: DestinationRule, client: Pod) -> bool:
    selector = rule.spec.workload_selector
    return selector is not None and selector.match_labels.items() <= client.labels.items()


def _of_rule(setting: TLSSetting, mesh: MeshConfig) -> Sent:
    return Sent(
        client=_BY_RULE[setting.mode],
        because=f"{setting.rule} says {setting.mode}",
        by=setting.rule,
        field=setting.field,
        fix=repair(setting, auto_mtls=mesh.enable_auto_mtls),
        subset=setting.subset,
    )


def _auto(call: Call, policies: Policies, mesh: MeshConfig) -> Sent:
    """Without a rule clients follow what each server can do; the Service as a whole is judged first."""
    service, server = call.service, call.server
    assert service is not None, "only a Service is judged"
    if not mesh.enable_auto_mtls:
        return Sent(
            client=Client.AUTO_OFF, because="enableAutoMtls is false, and no DestinationRule asks for mutual TLS",
            by=service.ref, fix=f"set enableAutoMtls to true, or write ISTIO_MUTUAL for {host(service)}",
        )  # fmt: skip
    wide = policies.of_namespace(service.namespace)
    if wide.mode is Mode.DISABLE:
        return Sent(
            client=Client.NAMESPACE_DISABLED, because=f"{wide.decided_by} is DISABLE for the whole namespace",
            by=wide.decided_by or service.ref, field="spec.mtls.mode", fix=f"rollout migrate {service.namespace}",
        )  # fmt: skip
    bare = next((pod for pod in call.backends if not addressable(pod)), None)
    if service.headless and bare is not None:
        return Sent(
            client=Client.HEADLESS_MIXED, because=f"clients of a headless Service use mutual TLS only when all of its "
            f"pods can, and {bare.ref} cannot", by=bare.ref, field=f"metadata.labels[{TLS_MODE_LABEL}]",
            fix=address(bare),
        )  # fmt: skip
    if not addressable(server):
        return Sent(
            client=Client.NO_LABEL, because="clients send plaintext to a pod without the label",
            by=server.ref, field=f"metadata.labels[{TLS_MODE_LABEL}]", fix=address(server),
        )  # fmt: skip
    own = policies.effective(server, call.port)
    if own.mode is Mode.DISABLE:
        return Sent(
            client=Client.PORT_DISABLED, because=f"{own.decided_by} is DISABLE for port {call.port}",
            by=own.decided_by or server.ref, field=place(policies, server, call.port),
            fix=permissive(own.decided_by or server.ref, place(policies, server, call.port)),
        )  # fmt: skip
    return Sent(client=Client.AUTO, because="clients follow what each server can do", by=server.ref)


def place(policies: Policies, server: Pod, port: int) -> str:
    """Where the mode of a port stands, in the policy that decides it."""
    selecting = policies.workload_policy(server)
    own = selecting.spec.port_level_mtls.get(str(port)) if selecting else None
    return "spec.mtls.mode" if own is None or own.mode is Mode.UNSET else f"spec.portLevelMtls.{port}.mode"
