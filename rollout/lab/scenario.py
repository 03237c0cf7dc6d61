"""Scenario files: what a mesh holds, who calls whom, what the outside world does, and how a migration should end.

No key names a mode, a metric or a verdict: a scenario can only do what the outside world does, and the simulator
works out what comes of it. `docs/scenarios.md` describes the schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from rollout.errors import UsageError
from rollout.lab.api.kinds import Kinds
from rollout.lab.durations import duration
from rollout.lab.mesh.identity import Flaw
from rollout.lab.mesh.manifests import Workload
from rollout.lab.mesh.outside import OutsideEvent
from rollout.lab.mesh.relabel import USUAL, Relabel
from rollout.lab.mesh.traffic import Traffic
from rollout.lab.shape import check_scenario, plain

Json = dict[str, Any]
SHIPPED = Path(__file__).parent / "scenarios"

_SHORTEST_JOB = 90_000
_V1 = ("security.istio.io/v1", "networking.istio.io/v1", "telemetry.istio.io/v1")
_MESH_KEYS = ("scrape_interval", "propagation", "drain", "root", "version", "access_log", "api", "relabel")
_ACTS = (
    "apply", "patch", "delete", "scale", "deploy", "stop_caller", "caller", "prometheus", "istiod", "proxy", "fault",
    "refuse",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expected:
    """How `migrate` should end: exit code, outcome label, and a name of a check or signal that must be said."""

    exit_code: int
    outcome: str
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """A diagnosis: the arguments of `rollout diagnose`, its exit code, and words of its first line."""

    arguments: tuple[str, ...]
    exit_code: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario, read and checked.

    Attributes:
        namespaces: labels and annotations by namespace.
        objects: verbatim manifests; `age` of a manifest is taken out of it (see `ages`).
        ages: milliseconds before history begins, by position in `objects`; others are as old as the workloads.
        managers: field manager, by position in `objects`; others were written by kubectl.
        look_back: history that exists, milliseconds.
        target: the namespaces that a migration of it is about.
        flags: suggested command line.
        refusals: writes that an admission webhook refuses from the start.
        relabel: how Prometheus labels what it scrapes.
        certificates: what is wrong with the certificates of a workload.
        diagnosis: what `rollout diagnose` must say.
        user: who the kubeconfig is for; '' for the administrator.
        api: the newest version of Istio's kinds that the cluster serves, `v1` or `v1beta1`.
        path: of the file.
    """

    name: str
    title: str
    description: str
    namespaces: Mapping[str, Json]
    workloads: tuple[Workload, ...]
    objects: tuple[Json, ...]
    ages: Mapping[int, int]
    managers: Mapping[int, str]
    traffic: tuple[Traffic, ...]
    events: tuple[OutsideEvent, ...]
    expected: Expected
    target: tuple[str, ...]
    flags: tuple[str, ...] = ()
    user: str = ""
    look_back: int = 9 * 86_400_000
    scrape_interval: int = 30_000
    propagation: tuple[int, int] = (1000, 3000)
    drain: str = "45s"
    root: str = "istio-system"
    version: str = "1.27.3"
    refusals: tuple[Json, ...] = ()
    access_log: str = "off"
    api: str = "v1"
    relabel: Relabel = USUAL
    certificates: Mapping[tuple[str, str], Flaw] = field(default_factory=dict)
    diagnosis: tuple[Diagnosed, ...] = ()
    path: str = ""

    @property
    def kinds(self) -> Kinds:
        """What the cluster serves: an Istio before 1.22 has no v1."""
        return Kinds() if self.api == "v1" else Kinds().without(*_V1)


def list_scenarios() -> list[tuple[str, str]]:
    """Name and title of every scenario that is shipped."""
    found = []
    for path in sorted(SHIPPED.glob("*.yaml")):
        title = next((line for line in path.read_text().splitlines() if line.startswith("title:")), "title:")
        found.append((path.stem, title.removeprefix("title:").strip().strip("\"'")))
    return found


def load_scenario(name: str | Path) -> Scenario:
    """Read a shipped scenario by name, or a file by path.

    Raises:
        UsageError: no such scenario, or a file that says something else than the schema.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else SHIPPED / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"not UTF-8: {error}", where=str(path)) from error
    except OSError as error:
        known = ", ".join(known for known, _ in list_scenarios())
        raise UsageError(f"no scenario {name}", limit=f"one of {known}, or a file", where=str(path)) from error
    try:
        document = plain(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise UsageError(f"not YAML: {error}", where=str(path)) from error
    except RecursionError as error:
        raise UsageError("a part of the file contains itself", where=str(path)) from error
    try:
        check_scenario(document)
        return _scenario(path.stem, document, str(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"missing key {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"no valid scenario: {said}", where=str(path), next="see docs/scenarios.md") from error


def parse_traffic(name: str, document: Mapping[str, Any]) -> Traffic:
    """One edge of a scenario.

    Raises:
        KeyError, ValueError: the entry does not follow the schema.
    """
    known = {"from", "to", "protocol", "rate", "swing", "burst", "jitter", "daily", "calls", "every", "connections",
             "lasts", "bytes", "errors", "by_address", "own_tls", "waits", "address"}  # fmt: skip
    _only(known, document, f"traffic {name}")
    values: Json = {k: document[k] for k in ("protocol", "swing", "burst", "jitter", "calls", "connections", "bytes",
                                             "errors", "own_tls", "waits", "address") if k in document}  # fmt: skip
    if "rate" in document:
        values["per_second"] = _rate(document["rate"])
    if "daily" in document:
        hours, minutes = str(document["daily"]).split(":")
        values["at"] = (int(hours) * 60 + int(minutes)) * 60_000
    for key in ("every", "lasts"):
        if key in document:
            values[key] = duration(document[key])
    place, _, port = str(document["to"]).partition(":")
    source = str(document.get("from", "outside"))
    if "/" not in source and source not in ("outside", "kube-apiserver", "prometheus"):
        raise ValueError(f"traffic {name}: from is NAMESPACE/NAME, outside, kube-apiserver or prometheus")
    traffic = Traffic(
        name=name,
        source=_pair(source) if "/" in source else None,
        caller=source,
        service=_pair(place),
        port=int(port),
        pod_ip=bool(document.get("by_address", False)),
        **values,
    )
    if traffic.protocol not in ("http", "grpc", "tcp"):
        raise ValueError(f"traffic {name}: protocol is http, grpc or tcp, not {traffic.protocol}")
    if traffic.swing + traffic.burst + traffic.jitter / 2 >= 1:
        raise ValueError(f"traffic {name}: swing + burst + jitter / 2 must stay below 1")
    return traffic


def _scenario(name: str, document: Mapping[str, Any], path: str) -> Scenario:
    known = {"title", "description", "namespaces", "workloads", "manifests", "traffic", "events", "expect", "target",
             "flags", "user", "mesh", "look_back", "refuse", "certificates", "diagnosis"}  # fmt: skip
    _only(known, document, "scenario")
    mesh = dict(document.get("mesh") or {})
    _only(_MESH_KEYS, mesh, "mesh")
    fast, _, slow = str(mesh.get("propagation", "1s-3s")).partition("-")
    manifests = [dict(m) for m in document.get("manifests") or ()]
    ages = {i: duration(m.pop("age")) for i, m in enumerate(manifests) if "age" in m}
    managers = {i: str(m.pop("by")) for i, m in enumerate(manifests) if "by" in m}
    expect, target = document["expect"], document["target"]
    _only({"exit", "outcome", "mentions"}, expect, "expect")
    return Scenario(
        name=name,
        title=str(document["title"]),
        description=str(document["description"]).strip(),
        namespaces={ns: dict(value or {}) for ns, value in document["namespaces"].items()},
        workloads=tuple(_workload(w) for w in document.get("workloads") or ()),
        objects=tuple(manifests),
        ages=ages,
        managers=managers,
        traffic=tuple(parse_traffic(key, value) for key, value in (document.get("traffic") or {}).items()),
        events=tuple(_event(e) for e in document.get("events") or ()),
        expected=Expected(int(expect["exit"]), str(expect["outcome"]), tuple(expect.get("mentions") or ())),
        target=(target,) if isinstance(target, str) else tuple(target),
        flags=tuple(str(flag) for flag in document.get("flags") or ()),
        user=str(document.get("user", "")),
        refusals=tuple(_refusal(rule) for rule in document.get("refuse") or ()),
        look_back=duration(document.get("look_back", "9d")),
        scrape_interval=duration(mesh.get("scrape_interval", "30s")),
        propagation=(duration(fast), duration(slow or fast)),
        drain=f"{duration(mesh.get('drain', '45s')) / 1000:g}s",  # as MeshConfig takes it
        root=str(mesh.get("root", "istio-system")),
        version=str(mesh.get("version", "1.27.3")),
        access_log=_access_log(mesh.get("access_log", "off")),
        api=_api(mesh.get("api", "v1")),
        relabel=_relabel(mesh.get("relabel") or {}),
        certificates={_pair(key): Flaw(value) for key, value in (document.get("certificates") or {}).items()},
        diagnosis=tuple(_diagnosed(entry) for entry in document.get("diagnosis") or ()),
        path=path,
    )


def _diagnosed(document: Mapping[str, Any]) -> Diagnosed:
    _only({"of", "exit", "says"}, document, "diagnosis")
    arguments, says = str(document["of"]).split(), document["says"]
    words = (says,) if isinstance(says, str) else tuple(says)
    return Diagnosed(tuple(arguments), int(document["exit"]), tuple(str(word) for word in words))


def _access_log(value: object) -> str:
    text = "off" if value is False else str(value)  # YAML reads `off` as a boolean
    if text not in ("text", "json", "off"):
        raise ValueError(f"mesh: access_log is text, json or off, not {value}")
    return text


def _relabel(document: Mapping[str, Any]) -> Relabel:
    _only({"namespace", "pod", "drop"}, document, "mesh relabel")
    drop = tuple(str(label) for label in document.get("drop") or ())
    if set(drop) - {"reporter"}:
        raise ValueError(f"mesh relabel: drop is [reporter], not {list(drop)}")
    return Relabel(str(document.get("namespace", "namespace")), str(document.get("pod", "pod")), drop)


def _workload(document: Mapping[str, Any]) -> Workload:
    names = {f.name for f in fields(Workload)}
    _only(names, document, f"workload {document.get('name')}")
    missing = [f.name for f in fields(Workload) if _needed(f) and f.name not in document]
    if missing:
        raise ValueError(f"workload {document.get('name')} needs {', '.join(missing)}")
    _only({"readiness", "liveness"}, document.get("probes", {}), f"workload {document['name']}: probes")
    values = dict(document)
    for key in ("takes", "age"):
        if key in values:
            values[key] = duration(values[key])
    if "args" in values:
        values["args"] = tuple(values["args"])
    workload = Workload(**values)
    if workload.kind not in ("Deployment", "StatefulSet", "CronJob"):
        raise ValueError(f"workload {workload.name}: kind is Deployment, StatefulSet or CronJob, not {workload.kind}")
    if workload.takes < _SHORTEST_JOB:
        raise ValueError(f"workload {workload.name}: a Job takes 90s or longer, its calls need 65s")
    if workload.sidecar not in ("", "native", "classic", "none", "ambient"):
        raise ValueError(f"workload {workload.name}: sidecar is native, classic, none or ambient")
    return workload


def _event(document: Mapping[str, Any]) -> OutsideEvent:
    _only({"after_flip", "at", "before", "on_write", "delay", "named", "by", *_ACTS}, document, "event")
    triggers = [key for key in ("after_flip", "at", "before", "on_write", "named") if key in document]
    acts = tuple((key, value) for key, value in document.items() if key in _ACTS)
    if len(triggers) != 1 or not acts:
        raise ValueError(
            f"an event has one of after_flip, at, before, on_write, named, and something to do: {dict(document)}"
        )
    return OutsideEvent(
        acts=acts,
        after_flip=duration(document["after_flip"]) if "after_flip" in document else None,
        at=_at(document),
        on_write=document.get("on_write"),
        delay=duration(document.get("delay", "0s")),
        named=str(document.get("named", "")),
        by=str(document.get("by", "kubectl")),
    )


def _api(version: object) -> str:
    if version not in ("v1", "v1beta1"):
        raise ValueError(f"mesh: api is v1 or v1beta1, not {version}")
    return str(version)


def _at(document: Mapping[str, Any]) -> int | None:
    if "before" in document:
        return -duration(document["before"])
    return duration(document["at"]) if "at" in document else None


def _refusal(rule: Mapping[str, Any]) -> Json:
    _only({"kind", "namespace", "when", "webhook", "message"}, rule, "refuse")
    return {"kind": rule["kind"], "webhook": rule["webhook"], "message": rule["message"], **rule}


def _only(known: Iterable[str], document: Mapping[str, Any], where: str) -> None:
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _needed(item: Any) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _pair(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    if not namespace or not name:
        raise ValueError(f"{text!r} is no NAMESPACE/NAME")
    return namespace, name


def _rate(value: object) -> float:
    number, _, unit = str(value).partition("/")
    per = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
    if unit not in per:
        raise ValueError(f"{value!r} is no rate such as 5/s or 12/h")
    return float(number) / per[unit]
