"""The outside world of a scenario: what people, pipelines and failures do to the mesh while it is migrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rollout.errors import UsageError
from rollout.lab.api.faults import Fault, Faults
from rollout.lab.api.status import ApiError
from rollout.lab.api.store import Admission, AdmissionRequest, denied
from rollout.lab.mesh.pods import stamp
from rollout.lab.mesh.simulation import Simulation
from rollout.lab.mesh.traffic import Traffic

Json = Mapping[str, Any]
ParseTraffic = Callable[[str, Json], Traffic]
ParseDuration = Callable[[object], int]


class _Admits(Protocol):
    admission: list[Admission]


@dataclass(frozen=True, slots=True)
class OutsideEvent:
    """Something that the outside world does.

    Attributes:
        acts: what is done, by key of the file, in the file's order.
        after_flip: milliseconds after the lab saw a namespace's pods begin to require mutual TLS.
        at: milliseconds after the lab's start; before it when negative.
        on_write: kind, and optionally namespace, name and manager, of a write that sets it off.
        delay: milliseconds after that write.
        named: fired by `Lab.fire(name)`.
        by: the field manager of what is written.
    """

    acts: tuple[tuple[str, Any], ...]
    after_flip: int | None = None
    at: int | None = None
    on_write: Mapping[str, str] | None = None
    delay: int = 0
    named: str = ""
    by: str = "kubectl"


class Outside:
    """Lets the events of a scenario happen.

    Args:
        simulation: the mesh.
        events: the events.
        start: where `at` counts from, milliseconds.
        prometheus_away: switches Prometheus' HTTP face off (True) and on.
        refuse: has the API server refuse what a rule says.
        faults: of the API server.
        parse_traffic, parse_duration: the scenario's own readers, for callers that come later.

    `failed` holds what the API refused, and what went wrong otherwise; `errors` the latter.
    """

    def __init__(
        self,
        simulation: Simulation,
        events: tuple[OutsideEvent, ...],
        start: int,
        *,
        prometheus_away: Callable[[bool], None],
        refuse: Callable[[dict[str, Any]], None],
        faults: Faults,
        parse_traffic: ParseTraffic,
        parse_duration: ParseDuration,
    ) -> None:
        """Wait for the triggers."""
        self._simulation, self._store = simulation, simulation.store
        self._away, self._refuse, self._faults = prometheus_away, refuse, faults
        self._traffic, self._duration = parse_traffic, parse_duration
        self.failed: list[str] = []
        self.errors: list[Exception] = []
        self._named = {h.named: h for h in events if h.named}
        self._after_flip = [h for h in events if h.after_flip is not None]
        self._on_write = [h for h in events if h.on_write is not None]
        for event in events:
            if event.at is not None:
                simulation.schedule(start + event.at, self._doing(event))
        simulation.flip_seen.append(self._flipped)
        simulation.written.append(self._written)

    @property
    def names(self) -> list[str]:
        """Events that are fired by name."""
        return sorted(self._named)

    def fire(self, name: str) -> None:
        """Let a named event happen.

        Raises:
            UsageError: the scenario has none of that name.
        """
        if name not in self._named:
            raise UsageError(f"the scenario has no event {name}", limit=f"one of {', '.join(self.names) or 'none'}")
        self._simulation.act(self._doing(self._named[name]))

    def _flipped(self, _: str, now: int) -> None:
        waiting, self._after_flip = self._after_flip, []
        for event in waiting:
            self._simulation.schedule(now + (event.after_flip or 0), self._doing(event))

    def _written(self, change: str, obj: Json, now: int) -> None:
        for event in list(self._on_write):
            if change != "DELETED" and _fits(event.on_write or {}, obj):
                self._on_write.remove(event)
                self._simulation.schedule(now + event.delay, self._doing(event))

    def _doing(self, event: OutsideEvent) -> Callable[[int], None]:
        def act(now: int) -> None:
            for key, value in event.acts:
                try:
                    getattr(self, f"_do_{key}")(value, event, now)
                except ApiError as error:  # a person would read it and go on with the day
                    self.failed.append(f"{key}: {error}")
                except Exception as error:  # noqa: BLE001 - what a file gets wrong must not end the mesh's time
                    self.failed.append(f"{key}: {type(error).__name__}: {error}")
                    self.errors.append(error)

        return act

    def _do_apply(self, value: Any, event: OutsideEvent, _: int) -> None:
        for obj in value if isinstance(value, list) else [value]:
            meta = obj["metadata"]
            key = (obj["apiVersion"], obj["kind"], meta["name"])
            if self._store.get(*key, meta.get("namespace", "")) is None:
                self._store.create(obj, manager=event.by)
            else:
                change = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind")}
                self._store.patch(*key, change, namespace=meta.get("namespace", ""), manager=event.by)

    def _do_patch(self, value: Json, event: OutsideEvent, _: int) -> None:
        self._store.patch(
            value["apiVersion"],
            value["kind"],
            value["name"],
            value["change"],
            namespace=value.get("namespace", ""),
            manager=event.by,
        )

    def _do_delete(self, value: Json, _: OutsideEvent, __: int) -> None:
        self._store.delete(value["apiVersion"], value["kind"], value["name"], value.get("namespace", ""))

    def _do_scale(self, value: Json, event: OutsideEvent, _: int) -> None:
        namespace, _, name = value["workload"].partition("/")
        kind, change = value.get("kind", "Deployment"), {"spec": {"replicas": value["replicas"]}}
        self._store.patch("apps/v1", kind, name, change, namespace=namespace, manager=event.by)

    def _do_deploy(self, value: str, event: OutsideEvent, now: int) -> None:
        namespace, _, name = value.partition("/")
        annotations = {"kubectl.kubernetes.io/restartedAt": stamp(now)}
        change = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        self._store.patch("apps/v1", "Deployment", name, change, namespace=namespace, manager=event.by)

    def _do_stop_caller(self, value: str, _: OutsideEvent, __: int) -> None:
        self._simulation.remove(value)

    def _do_caller(self, value: Json, _: OutsideEvent, __: int) -> None:
        for name, document in value.items():
            self._simulation.add(self._traffic(name, document))

    def _do_prometheus(self, value: Json, _: OutsideEvent, now: int) -> None:
        def switch(*, away: bool) -> None:
            self._simulation.scraper.away = away
            self._away(away)

        switch(away=True)
        if "away" in value and value["away"] != "for ever":
            back = now + self._duration(value["away"])
            self._simulation.schedule(back, lambda _: switch(away=False))

    def _do_istiod(self, value: str, _: OutsideEvent, now: int) -> None:
        self._simulation.istiod.running = self._simulation.controllers.injector = value == "start"
        self._simulation.istiod.push(now)

    def _do_proxy(self, value: Json, _: OutsideEvent, now: int) -> None:
        namespace, _, name = value["workload"].partition("/")
        found = [p for p in self._simulation.proxies.values() if (p.pod.namespace, p.pod.workload) == (namespace, name)]
        for proxy in sorted(found, key=lambda p: p.pod.name)[: value.get("pods", len(found))]:
            proxy.stuck = value["state"] == "stuck"
            proxy.rejecting = value["state"] == "rejecting"
        self._simulation.istiod.push(now, [namespace])

    def _do_fault(self, value: Json, _: OutsideEvent, __: int) -> None:
        self._faults.add(Fault.parse(dict(value)))

    def _do_refuse(self, value: Json, _: OutsideEvent, __: int) -> None:
        self._refuse(dict(value))


def refuse(store: _Admits, rule: Json) -> None:
    """Have an admission webhook refuse writes of a kind (in a namespace, with some fields) from now on."""

    def admission(request: AdmissionRequest) -> str | ApiError | None:
        there = request.obj or {}
        if request.resource.kind != rule["kind"] or rule.get("namespace", request.namespace) != request.namespace:
            return None
        return denied(rule["webhook"], rule["message"]) if _contains(there, rule.get("when") or {}) else None

    store.admission.append(admission)


def _fits(wanted: Json, obj: Json) -> bool:
    meta = obj["metadata"]
    managers = {entry.get("manager") for entry in meta.get("managedFields") or ()}
    return (
        wanted.get("kind") == obj["kind"]
        and wanted.get("namespace", meta.get("namespace")) == meta.get("namespace")
        and wanted.get("name", meta["name"]) == meta["name"]
        and ("manager" not in wanted or wanted["manager"] in managers)
        and _contains(obj, wanted.get("when") or {})
    )


def _contains(obj: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(obj, Mapping) and all(_contains(obj.get(k), v) for k, v in wanted.items())
    return bool(obj == wanted)
