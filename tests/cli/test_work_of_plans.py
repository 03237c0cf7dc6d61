"""The work of a plan grows with its pods, not with pods x namespaces: requests and calls are counted, nothing timed."""

from __future__ import annotations

import cProfile
import importlib
import pstats
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import rollout
from rollout.cli import main
from rollout.lab.api.store import Store
from rollout.lab.clock import VirtualClock
from rollout.lab.prometheus import Prometheus
from rollout.lab.server import LabServer
from rollout.world.certificates import TOGETHER
from rollout.world.suspects import CONFIG_MAPS

ROOT = Path(rollout.__file__).parent.parent
PODS = 200
FEW, MANY = 20, 40
#: Idle workloads, as many in both clusters.
OTHERS = 60
#: The two dry runs of a namespace's own flip; one for a namespace whose first write is another one.
DRY_RUNS = 2
#: What asks each namespace's checks, and the texts that name each namespace: so often, whatever is in there.
FRAME = ("checks/view.py", "checks/run.py", "world/world.py", "world/reads.py", "world/promql.py")
#: A function that looks at each pod for each namespace would be called so many times more often at least.
PRODUCT = PODS * (MANY - FEW)


class Planned(NamedTuple):
    """What a plan asked the server for, and how often it called each function."""

    asked: Counter[str]
    calls: dict[str, int]


def _filled(mesh: Any, namespaces: int, clock: VirtualClock) -> tuple[Store, Any]:
    """The benchmark's cluster, with workloads without pods that call its Services."""
    store = Store(clock.now)
    deployed = mesh.fill(store, mesh.Size(PODS, namespaces))
    mesh._namespace(store, 0, "legacy", strict=False)
    for number in range(OTHERS):
        meta = {"name": f"idle-{number}", "namespace": "legacy"}
        called = deployed[number % len(deployed)]
        env = [{"name": "URL", "value": f"http://{called.name}.{called.namespace}:80"}]
        template = {
            "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
            "spec": {"containers": [{"name": "app", "image": "app", "env": env}]},
        }
        spec = {"replicas": 0, "selector": {"matchLabels": {"app": meta["name"]}}, "template": template}
        mesh._put(store, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    return store, Prometheus(mesh.metrics(deployed, clock.now()), clock.now)


def _planned(mesh: Any, kind_of: Any, namespaces: int, folder: Path) -> Planned:
    clock = VirtualClock(datetime.now(UTC))  # as the plan's own clock
    store, prometheus = _filled(mesh, namespaces, clock)
    asked: Counter[str] = Counter()
    with LabServer(store, clock, prometheus=prometheus) as server:
        answer, handle = server.api.answer, prometheus.handle

        def counted(request: Any) -> Any:
            asked[kind_of(request.method, request.path, request.query)] += 1
            return answer(request)

        def queried(*args: Any) -> Any:
            asked[f"prometheus {args[1].rpartition('/')[2]}"] += 1
            return handle(*args)

        server.api.answer = counted  # type: ignore[method-assign]
        prometheus.handle = queried
        kubeconfig = folder / f"kubeconfig-{namespaces}"
        kubeconfig.write_text(server.kubeconfig())
        profile = cProfile.Profile()
        profile.runcall(main, ["plan", "--all-namespaces", "--kubeconfig", str(kubeconfig), "--prometheus",
                               f"{server.url}/prometheus", "-e", "look_back=2h", "--allow-idle"])  # fmt: skip
    calls: Counter[str] = Counter()
    for (file, _, name), (_, count, *_) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        where = Path(file)
        if where.is_relative_to(ROOT / "rollout"):
            calls[f"{where.relative_to(ROOT / 'rollout')} {name}"] += count
    return Planned(asked, calls)


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Planned, Planned]]:
    """A plan of the same pods in few and in many namespaces."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("plans")
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        pods, mesh = importlib.import_module("pods"), importlib.import_module("mesh")
        kind_of = importlib.import_module("cluster").kind_of
        made = pods.pod

        def passing(*args: Any, **how: Any) -> Any:
            pod = made(*args, **how)
            pod["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeOutboundPorts"] = "9000"
            return pod

        patch.setattr(pods, "pod", passing)
        yield _planned(mesh, kind_of, FEW, folder), _planned(mesh, kind_of, MANY, folder)


def test_only_dry_runs_grow_with_namespaces(plans: tuple[Planned, Planned], capsys: pytest.CaptureFixture[str]) -> None:
    """Lists, reviews and queries are those of one; what proxies and ConfigMaps are asked is bounded for all."""
    few, many = (Counter(plan.asked) for plan in plans)
    dry_runs = few.pop("dry run"), many.pop("dry run")
    assert 0 < dry_runs[1] - dry_runs[0] <= DRY_RUNS * (MANY - FEW)
    for asked in (few, many):
        assert asked.pop("get pods") <= 2 * TOGETHER
        assert asked.pop("get configmaps", 0) <= 2 * CONFIG_MAPS
    assert few == many
    assert few["list pods"] == 1


def test_what_is_found_of_all_pods_is_found_once(plans: tuple[Planned, Planned]) -> None:
    """Twice the namespaces with the same pods: no function is called as if each looked at the pods of all."""
    few, many = (plan.calls for plan in plans)
    looked = {
        name: (few.get(name, 0), count)
        for name, count in many.items()
        if name.startswith(("mesh/", "checks/", "world/")) and not name.startswith(FRAME)
    }
    assert {} == {name: counts for name, counts in looked.items() if counts[1] - counts[0] > PRODUCT / 2}
    assert PODS / 2 < looked["mesh/outbound.py exclusions"][1] <= PODS  # of those with a sidecar, once


def test_the_count_would_see_it(plans: tuple[Planned, Planned]) -> None:
    """The functions that look at pods are in it: each is called for each pod at least once."""
    calls = plans[1].calls
    for name in ("mesh/injection.py live", "mesh/workloads.py workload", "mesh/injection.py proxy_container"):
        assert calls[name] >= PODS
