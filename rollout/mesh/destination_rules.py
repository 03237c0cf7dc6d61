"""What clients send: which DestinationRule a client's namespace uses for a Service, and its TLS mode (istio.md 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from rollout.model.gateways import VirtualService
from rollout.model.istio import ClientTLSMode, ClientTLSSettings, DestinationRule, TrafficPolicy
from rollout.model.kubernetes import Ref

_NEWEST = datetime.max.replace(tzinfo=UTC)


class TLSSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A `tls` that somebody wrote, in one of the four places.

    `field` is for people, `pointer` the JSON pointer of the `tls` object. `port` is the Service's port (None: all that
    have no setting of their own). `subset` counts only where a VirtualService routes to it. `some_clients`: the rule
    has a workloadSelector, and `labels` are what it asks of the clients.
    """

    rule: Ref
    field: str
    pointer: str
    mode: ClientTLSMode
    port: int | None = None
    subset: str = ""
    some_clients: bool = False
    labels: tuple[tuple[str, str], ...] = ()


class Rules:
    """All DestinationRules, indexed once. The first namespace with a match wins whole: client, Service, root."""

    def __init__(
        self,
        rules: Iterable[DestinationRule],
        root_namespace: str,
        default_export_to: tuple[str, ...] = ("*",),
        domain: str = "cluster.local",
    ) -> None:
        """Group by namespace and resolved host, oldest first."""
        self.root_namespace = root_namespace
        self._default_export_to = default_export_to or ("*",)
        self._by_namespace: dict[str, dict[str, list[DestinationRule]]] = {}
        self._with_rules_for: dict[str, set[str]] = {}
        self._alike: dict[tuple[tuple[str, ...], frozenset[str]], tuple[tuple[str, ...], ...]] = {}
        self._named: set[str] = {root_namespace, *self._default_export_to}
        for rule in sorted(rules, key=_age):
            hosts = self._by_namespace.setdefault(rule.namespace, {})
            name = resolved_host(rule, domain)
            hosts.setdefault(name, []).append(rule)
            self._with_rules_for.setdefault(name, set()).add(rule.namespace)
            self._named.update(rule.spec.export_to)

    def alike(self, clients: Iterable[str], host: str) -> tuple[tuple[str, ...], ...]:
        """The client namespaces in groups that see the same rules for the host, in their order.

        One without a rule of its own for the host that no `exportTo` names is like any other such.
        """
        own = frozenset[str]().union(*(self._with_rules_for.get(name, ()) for name in _most_specific_first(host)))
        key = (tuple(clients), own)
        if key not in self._alike:
            groups: dict[str, list[str]] = {}
            for client in key[0]:
                groups.setdefault(client if client in own or client in self._named else "", []).append(client)
            self._alike[key] = tuple(tuple(group) for group in groups.values())
        return self._alike[key]

    def deciding(self, client_namespace: str, service_namespace: str, host: str) -> tuple[DestinationRule, ...]:
        """The rules for this host as clients of that namespace see them, oldest first.

        Several of the same host and namespace are one to Istio: see `tls_settings`. Rules with a workloadSelector come
        along: they are for some clients only, and the others take the next match.
        """
        found: list[DestinationRule] = []
        for namespace, local in self._steps(client_namespace, service_namespace):
            visible = self._most_specific(namespace, host, client_namespace, local=local)
            found += visible
            if any(rule.spec.workload_selector is None for rule in visible):
                break
        return tuple(found)

    def settings(self, client_namespace: str, service_namespace: str, host: str) -> tuple[TLSSetting, ...]:
        """Every `tls` that the deciding rules bring to bear."""
        return tls_settings(self.deciding(client_namespace, service_namespace, host))

    def _steps(self, client: str, service: str) -> Iterator[tuple[str, bool]]:
        """Namespace, and whether only the root's private rules count there (istio.md 3.3)."""
        yield client, client == self.root_namespace
        for namespace in dict.fromkeys((service, self.root_namespace)):
            if namespace != client or client == self.root_namespace:
                yield namespace, False

    def _most_specific(self, namespace: str, host: str, client: str, *, local: bool) -> list[DestinationRule]:
        hosts = self._by_namespace.get(namespace, {})
        for candidate in _most_specific_first(host):
            visible = [rule for rule in hosts.get(candidate, ()) if self._visible(rule, client, local=local)]
            if visible:
                return visible
        return []

    def _visible(self, rule: DestinationRule, client: str, *, local: bool) -> bool:
        private = rule.spec.workload_selector is not None
        export_to = rule.spec.export_to or self._default_export_to
        if local:
            return private or export_to == (".",)
        if rule.namespace == client != self.root_namespace:
            return True
        return not private and ("*" in export_to or client in export_to)


def resolved_host(rule: DestinationRule, domain: str = "cluster.local") -> str:
    """A name without a dot belongs to the rule's own namespace; every other one is taken as it is."""
    host = rule.spec.host
    return host if "." in host or "*" in host else f"{host}.{rule.namespace}.svc.{domain}"


def subset_routes(routes: Iterable[VirtualService], domain: str = "cluster.local") -> frozenset[tuple[str, str]]:
    """Host and subset of every destination that a VirtualService names, delegates and mirrors as well.

    Who uses the VirtualService is not asked: a subset that is in here may be in use, and no other is (istio.md 3.2).
    """
    found: set[tuple[str, str]] = set()
    for route in routes:
        for each in (*route.spec.http, *route.spec.tls, *route.spec.tcp):
            mirrored = (each.mirror,) if each.mirror else ()
            for target in (*mirrored, *(to.destination for to in (*each.route, *each.mirrors))):
                host = target.host.rstrip(".")
                full = host if "." in host else f"{host}.{route.namespace}.svc"
                found.add((f"{full}.{domain}" if full.endswith(".svc") else full, target.subset))
    return frozenset(found)


def _most_specific_first(host: str) -> Iterator[str]:
    """The name itself, then wildcards from the longest suffix to `*`."""
    yield host
    rest = host
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"
    yield "*"


def _age(rule: DestinationRule) -> tuple[datetime, str]:
    return (rule.metadata.creation_timestamp or _NEWEST, rule.name)


def tls_settings(rules: Iterable[DestinationRule]) -> tuple[TLSSetting, ...]:
    """What rules of one host amount to: the first top-level policy, and of equal subsets the first."""
    found: list[TLSSetting] = []
    top = False
    subsets: set[str] = set()
    for rule in rules:
        some = rule.spec.workload_selector is not None
        if rule.spec.traffic_policy is not None and (some or not top):
            top = top or not some
            found += _of_policy(rule, rule.spec.traffic_policy, "spec.trafficPolicy", "/spec/trafficPolicy", "")
        for place, subset in enumerate(rule.spec.subsets):
            if subset.traffic_policy is None or (not some and subset.name in subsets):
                continue
            if not some:
                subsets.add(subset.name)
            field = f"spec.subsets[{subset.name}].trafficPolicy"
            pointer = f"/spec/subsets/{place}/trafficPolicy"
            found += _of_policy(rule, subset.traffic_policy, field, pointer, subset.name)
    return tuple(found)


def _of_policy(
    rule: DestinationRule, policy: TrafficPolicy, field: str, pointer: str, subset: str
) -> Iterator[TLSSetting]:
    places: list[tuple[str, str, int | None, ClientTLSSettings | None]] = [(field, pointer, None, policy.tls)]
    for place, setting in enumerate(policy.port_level_settings):
        port = setting.port.number
        inner = f"portLevelSettings[{port}]"
        places.append((f"{field}.{inner}", f"{pointer}/portLevelSettings/{place}", port, setting.tls))
    selector = rule.spec.workload_selector
    for where, at, number, tls in places:
        if tls is not None:
            yield TLSSetting(
                rule=rule.ref,
                field=f"{where}.tls.mode",
                pointer=f"{at}/tls",
                mode=tls.mode,
                port=number,
                subset=subset,
                some_clients=selector is not None,
                labels=tuple(sorted(selector.match_labels.items())) if selector else (),
            )


def repair(setting: TLSSetting, *, auto_mtls: bool) -> str:
    """The command that lets clients use mutual TLS: no tls at all follows what each server can do.

    ISTIO_MUTUAL in its place would cut off servers without a sidecar; it is written only where auto mTLS is off.
    """
    patch = f'"op":"remove","path":"{setting.pointer}"'
    if not auto_mtls:
        patch = f'"op":"replace","path":"{setting.pointer}","value":{{"mode":"ISTIO_MUTUAL"}}'
    rule = setting.rule
    return f"kubectl patch destinationrule {rule.name} -n {rule.namespace} --type json -p '[{{{patch}}}]'"


def ports_of(setting: TLSSetting, settings: Iterable[TLSSetting], ports: Iterable[int]) -> tuple[int, ...]:
    """The Service ports for which a setting decides: those of a port's own setting are not the general one's."""
    if setting.port is not None:
        return tuple(port for port in ports if port == setting.port)
    own = {
        other.port for other in settings if other.port and (other.rule, other.subset) == (setting.rule, setting.subset)
    }
    return tuple(port for port in ports if port not in own)
