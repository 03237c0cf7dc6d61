"""The listing of DestinationRules for a namespace: Service, place, mode, and whose clients use it."""

from __future__ import annotations

import msgspec

from rollout.checks.words import some
from rollout.mesh.destination_rules import Rules, TLSSetting
from rollout.mesh.services import host
from rollout.model.istio import ClientTLSMode, DestinationRule, MeshConfig
from rollout.model.kubernetes import Namespace, Service
from rollout.world.world import KindUnreadable, World

#: Settings that are listed; the harmful ones first, and each of those is a finding as well.
SHOWN = 4


class _Row(msgspec.Struct):
    """A setting, and whom it is for; grows while the client namespaces are walked through."""

    setting: TLSSetting
    services: dict[str, None]
    clients: dict[str, None]


def listing(world: World, namespace: str, mesh: MeshConfig) -> tuple[str, ...]:
    """Every `tls` that decides what some client sends to a Service of the namespace, ISTIO_MUTUAL as well.

    Where a kind cannot be read there is no listing: the check destination-rules says so.
    """
    try:
        rows = _rows(world, namespace, mesh)
    except KindUnreadable:
        return ()
    if not rows:
        return (f"no DestinationRule with tls is for a Service of {namespace}",)
    shown = tuple(_line(row) for row in rows[:SHOWN])
    more = len(rows) - SHOWN
    return (*shown, f"and {more} more tls: kubectl get destinationrules -A -o yaml") if more > 0 else shown


def _rows(world: World, namespace: str, mesh: MeshConfig) -> list[_Row]:
    export_to = mesh.default_destination_rule_export_to
    rules = world.derived(DestinationRule, Rules, mesh.root_namespace, export_to)
    clients = sorted(space.name for space in world.of(Namespace))
    rows: dict[tuple[str, str], _Row] = {}
    for service in world.of(Service, namespace):
        for alike in rules.alike(clients, host(service)):
            for setting in rules.settings(alike[0], namespace, host(service)):
                row = rows.setdefault((str(setting.rule), setting.field), _Row(setting, {}, {}))
                row.services[service.name] = None
                row.clients.update(dict.fromkeys(alike))
    return sorted(rows.values(), key=lambda row: row.setting.mode is ClientTLSMode.ISTIO_MUTUAL)


def _line(row: _Row) -> str:
    some_only = ", those that its workloadSelector matches" if row.setting.some_clients else ""
    return (
        f"{row.setting.rule}: for {some(row.services)}, {row.setting.field} {row.setting.mode.value}, "
        f"used by clients in {some(row.clients)}{some_only}"
    )
