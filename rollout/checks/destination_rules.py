"""No DestinationRule turns mesh TLS off.

Why: a DestinationRule decides what clients send. DISABLE sends plaintext, SIMPLE and MUTUAL send TLS without the
mesh's identity; a STRICT server refuses all three. `tls` without a mode is DISABLE.

Fix: remove the `tls` block, so that clients follow what the server can do; with enableAutoMtls off, write ISTIO_MUTUAL.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.checks.words import many, some
from rollout.mesh.destination_rules import Rules, TLSSetting, ports_of, repair, subset_routes
from rollout.mesh.injection import live, proxy_container
from rollout.mesh.services import host
from rollout.mesh.workloads import workload
from rollout.model.finding import Finding, Severity
from rollout.model.gateways import VirtualService
from rollout.model.istio import ClientTLSMode, DestinationRule, PeerAuthentication
from rollout.model.kubernetes import Namespace, Pod, Service
from rollout.record.state import State

META = Meta("destination-rules", State.CHECKING, __doc__)
READS = (DestinationRule, Service, Pod, PeerAuthentication, Namespace, VirtualService)


_Strict = tuple[tuple[Service, tuple[int, ...]], ...]


class _Harm(msgspec.Struct):
    """Whom a setting cuts off; grows while the namespaces are walked through."""

    setting: TLSSetting
    clients: dict[str, None]
    services: dict[str, Service]


def check(view: View) -> Findings:
    """One finding per `tls` that a STRICT port would refuse, with the client namespaces that use it."""
    config = view.mesh_config
    rules = view.then.derived(DestinationRule, Rules, view.root_namespace, config.default_destination_rule_export_to)
    proxied = view.then.derived(Pod, _proxied)
    clients = sorted(view.then.derived(Namespace, _names) | proxied)
    strict = view.then.strict_services()
    for harm in sorted(_harms(rules, clients, strict), key=lambda harm: harm.setting.subset != ""):
        who = _who(view, harm, proxied)
        yield _finding(harm, who, routed=_routed(view, harm), auto=config.enable_auto_mtls)
    if not config.enable_auto_mtls:
        yield from _without_auto(rules, sorted(proxied), strict)
    return f"{many(len(strict), 'Service')}, as clients of {many(len(clients), 'namespace')} reach them"


def _proxied(pods: tuple[Pod, ...]) -> frozenset[str]:
    """The namespaces in which a sidecar runs."""
    return frozenset(pod.namespace for pod in pods if live(pod) and proxy_container(pod))


def _names(namespaces: tuple[Namespace, ...]) -> frozenset[str]:
    return frozenset(namespace.name for namespace in namespaces)


def _harms(rules: Rules, clients: list[str], strict: _Strict) -> Iterable[_Harm]:
    harms: dict[tuple[str, str], _Harm] = {}
    for service, ports in strict:
        for alike in rules.alike(clients, host(service)):
            settings = rules.settings(alike[0], service.namespace, host(service))
            for setting in settings:
                if setting.mode is not ClientTLSMode.ISTIO_MUTUAL and ports_of(setting, settings, ports):
                    harm = harms.setdefault((str(setting.rule), setting.field), _Harm(setting, {}, {}))
                    harm.clients.update(dict.fromkeys(alike))
                    harm.services[service.name] = service
    return harms.values()


def _routed(view: View, harm: _Harm) -> bool:
    """What is of no subset always counts; VirtualServices are read only where there is one."""
    subset = harm.setting.subset
    if not subset:
        return True
    routes = view.then.derived(VirtualService, subset_routes)
    return any((host(service), subset) in routes for service in harm.services.values())


def _who(view: View, harm: _Harm, proxied: frozenset[str]) -> list[str]:
    """The namespaces whose sidecars use it; of a rule with a workloadSelector the workloads that it matches."""
    setting = harm.setting
    if not setting.some_clients:
        return [client for client in harm.clients if client in proxied]
    pods = view.then.of(Pod, setting.rule.namespace)
    wanted = dict(setting.labels).items()
    return [str(workload(p)) for p in pods if live(p) and proxy_container(p) and wanted <= p.labels.items()]


def _finding(harm: _Harm, who: list[str], *, routed: bool, auto: bool) -> Finding:
    setting = harm.setting
    if setting.some_clients:
        used = f"{some(who)}, which its workloadSelector matches" if who else "nobody"
    else:
        used = f"clients in {some(who or harm.clients)}"
    unsure = "" if routed else f", if something routes to subset {setting.subset}"
    lines = [f"for {some(harm.services)}, used by {used}{unsure}"]
    if not who and setting.some_clients:
        lines.append(f"its workloadSelector matches no live pod with a sidecar in {setting.rule.namespace}")
    elif not who:
        lines.append("no sidecar runs in those namespaces now")
    if setting.subset and routed:
        lines.append(f"a VirtualService routes to subset {setting.subset}")
    elif setting.subset:
        lines.append(f"no VirtualService routes to subset {setting.subset}")
    return Finding(
        ref=setting.rule,
        field=setting.field,
        measured=setting.mode.value,
        limit="ISTIO_MUTUAL, or no tls at all" if auto else "ISTIO_MUTUAL",
        where=tuple(lines),
        fix=repair(setting, auto_mtls=auto),
        severity=None if who and routed else Severity.WARNING,
    )


def _without_auto(rules: Rules, clients: list[str], strict: _Strict) -> Findings:
    for service, ports in strict:
        plain: list[str] = []
        for alike in rules.alike(clients, host(service)):
            settings = rules.settings(alike[0], service.namespace, host(service))
            if not any(s.mode is ClientTLSMode.ISTIO_MUTUAL and ports_of(s, settings, ports) for s in settings):
                plain += alike
        if plain:
            yield Finding(
                ref=service.ref,
                measured="enableAutoMtls is false, and no DestinationRule asks for mutual TLS",
                limit="ISTIO_MUTUAL",
                where=(f"clients in {some(plain)} send plaintext",),
                fix=_rule(service),
            )
    return ""


def _rule(service: Service) -> str:
    body = (
        '{"apiVersion":"networking.istio.io/v1beta1","kind":"DestinationRule",'
        f'"metadata":{{"name":"{service.name}-mtls","namespace":"{service.namespace}"}},'
        f'"spec":{{"host":"{host(service)}","trafficPolicy":{{"tls":{{"mode":"ISTIO_MUTUAL"}}}}}}}}'
    )
    return f"echo '{body}' | kubectl apply -f -"
