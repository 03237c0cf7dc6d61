"""Seeded watches: healthy ones with the accidents of every day, and regressed ones, judged tick by tick.

Counters are made as callers and destinations write them, cut into scrapes, and go through the same fold as Prometheus'
answers. So what is measured here is the product's own code from the samples on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from rollout.judge import READS, judge
from rollout.judge.slow import lost
from rollout.model.judgement import Baseline, Observation, Verdict
from rollout.model.kubernetes import Deployment, Pod
from rollout.model.traffic import Sight
from rollout.record.run import Watch
from rollout.world.baseline import fold_baseline, fold_workloads
from rollout.world.reads import Objects
from rollout.world.watch import Fold
from rollout.world.world import Reading, World
from tests.world.mesh_fakes import NOW, deployment, pod

WINDOW = 120.0
BEFORE = 3600.0
WATCH = 1800.0
DRAIN = 45.0
REPLICAS = 4
#: How often the long windows are asked, and how long the shorter of them is.
SLOWLY, LATE = 300.0, 900.0


class Harm(StrEnum):
    """What the flip did."""

    NONE = "none"
    CUT = "cut"
    PARTIAL = "partial"
    GRPC = "grpc"
    REFUSED = "refused"
    POOL = "pool"
    PROBES = "probes"
    ADDRESS = "address"


@dataclass
class Caller:
    """One edge: events per second, the usual share of failures, and how it varies.

    `resets` are its connections to addresses elsewhere that are cut, per second.
    """

    name: str
    rate: float
    errors: float
    tcp: bool = False
    on: float = 1.0
    burst: float = -1.0
    stops: float = math.inf
    resets: float = 0.0
    harm: Harm = Harm.NONE

    def active(self, time: float) -> float:
        """Its rate at a time: a slow wave, and pauses of a caller that works in shifts of ten minutes."""
        if time >= self.stops or (time % 600) / 600 >= self.on:
            return 0.0
        return self.rate * (1 + 0.2 * math.sin(time / 900))


@dataclass
class Scenario:
    """One watch."""

    seed: int
    harm: Harm
    begins: float
    interval: float
    callers: list[Caller]
    unready: tuple[float, float] = (math.inf, math.inf)
    away: tuple[float, float] = (math.inf, math.inf)
    random: random.Random = field(default_factory=random.Random)


@dataclass(frozen=True)
class Result:
    """How a watch ended: the time of the rollback in seconds of the watch, None without one."""

    scenario: Scenario
    rolled_back: float | None
    sentence: str


def scenario(seed: int, harm: Harm) -> Scenario:
    """A watch with its accidents, out of a seed."""
    rng = random.Random(f"{seed}-{harm}")
    callers = [_caller(rng, n) for n in range(rng.randint(2, 8))]
    made = Scenario(seed, harm, rng.uniform(-DRAIN, 600), rng.choice([15.0, 30.0]), callers, random=rng)
    accident = rng.random()
    if accident < 0.3:
        callers[0].burst = rng.uniform(60, WATCH - 60)
    elif accident < 0.45:
        callers[0].stops = rng.uniform(60, WATCH)
    elif accident < 0.6:
        begin = rng.uniform(0, WATCH)
        made.unready = (begin, begin + rng.uniform(5, 55))
    elif accident < 0.7:
        begin = rng.uniform(0, WATCH)
        made.away = (begin, begin + 120)
    for caller in callers:
        caller.resets = rng.choice([0.0, 0.0, 0.005, 0.05, 0.5])
    victim = callers[-1]
    if harm is Harm.POOL:
        victim.tcp, victim.rate, victim.on = True, rng.uniform(0.04, 0.1), 1.0
    elif harm is Harm.ADDRESS:
        victim.tcp, victim.rate, victim.on = rng.random() < 0.7, max(victim.rate, 0.3), 1.0
        victim.resets = rng.choice([0.0, 0.005])
    elif harm not in (Harm.NONE, Harm.PROBES):
        victim.rate, victim.on, victim.errors = max(victim.rate, 0.6), 1.0, min(victim.errors, 0.05)
        victim.tcp = victim.tcp and harm is Harm.CUT
    if harm is Harm.REFUSED:
        victim.rate = max(victim.rate, 0.3 * sum(caller.rate for caller in callers))
    victim.harm = harm
    return made


def _caller(rng: random.Random, number: int) -> Caller:
    rate = math.exp(rng.uniform(math.log(0.02), math.log(40)))
    errors = rng.choice([0.0, 0.0, 0.001, 0.01, 0.05, 0.3])
    return Caller(f"caller{number}", rate, errors, tcp=rng.random() < 0.25, on=rng.choice([1.0, 1.0, 1.0, 0.5]))


def _drawn(rng: random.Random, mean: float) -> float:
    if mean > 30:
        return max(0.0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count, product = count + 1, product * rng.random()
    return float(count)


Row = tuple[str, str, str, str, str, str]
"""query, caller, code, flags, grpc status, reporter's knowledge of the workload."""


def _scrape(made: Scenario, start: float) -> dict[Row, float]:
    """What one scrape interval adds to each counter."""
    rng, found = made.random, dict[Row, float]()

    def add(query: str, caller: str, value: float, code: str = "200", flags: str = "-", grpc: str = "") -> None:
        if value:
            row = (query, caller, code, flags, grpc, "unknown" if flags in ("UC", "UR") else "orders")
            found[row] = found.get(row, 0.0) + value

    for caller in made.callers:
        events = _drawn(rng, caller.active(start) * made.interval)
        bad = min(events, _drawn(rng, events * caller.errors))
        if caller.burst <= start < caller.burst + made.interval:
            bad = min(events, bad + max(12.0, 0.6 * events))
        if -made.interval <= start < 0:  # the drain cuts what is in flight
            bad = min(events, bad + 0.3 * events)
        harmed = caller.harm if start >= made.begins else Harm.NONE
        add("reset", caller.name, _drawn(rng, caller.resets * made.interval), code="", flags="UR")
        if harmed is Harm.ADDRESS:
            add("reset", caller.name, events, code="", flags="UR")
            continue
        _call(caller, harmed, events, bad, add)
    return found


def _call(caller: Caller, harm: Harm, events: float, bad: float, add: object) -> None:
    assert callable(add)
    name = caller.name
    if caller.tcp:
        through = 0.0 if harm in (Harm.CUT, Harm.POOL) else events
        add("connected", name, events, code="")
        add("disconnected", name, (events - through) + 0.0, code="", flags="UR")
        add("accepted", name, through, code="")
        add("received", name, 500.0 * through, code="")
        return
    lost = {Harm.CUT: events, Harm.PARTIAL: math.floor(0.5 * events)}.get(harm, 0.0)
    add("tried", name, lost, code="503", flags="UC")
    through = events - lost
    bad = min(bad, through)
    if harm is Harm.GRPC:
        add("tried", name, through, grpc="14", flags="UC")
        return
    if harm is Harm.REFUSED:
        add("tried", name, through, code="403")
        add("arrived", name, through, code="403")
        return
    for query in ("tried", "arrived"):
        add(query, name, through - bad, grpc="0")
        add(query, name, bad, code="500")


def _labels(row: Row) -> dict[str, str]:
    _, caller, code, flags, grpc, workload = row
    return {
        "source_workload": caller,
        "source_workload_namespace": "web",
        "destination_workload": workload,
        "destination_workload_namespace": "unknown" if workload == "unknown" else "production",
        "destination_service": "orders.production.svc.cluster.local",
        "destination_service_namespace": "production",
        "response_code": code,
        "response_flags": flags,
        "grpc_response_status": grpc,
    }


def _fold(scrapes: Sequence[dict[Row, float]], scale: float) -> Fold:
    tables: dict[str, list[tuple[dict[str, str], float]]] = {}
    total: dict[Row, float] = {}
    for scrape in scrapes:
        for row, value in scrape.items():
            total[row] = total.get(row, 0.0) + value
    for row, value in total.items():
        tables.setdefault(row[0], []).append((_labels(row), value * scale))
    return Fold(["production"], {}).take(tables)


def _sight(made: Scenario, time: float) -> Sight:
    seen = () if made.away[0] <= time < made.away[1] else ("p",)
    return Sight(("p",), seen, interval=made.interval, newest=_at(time))


def _at(time: float) -> datetime:
    return NOW.astimezone(UTC) + timedelta(seconds=time)


def _world(made: Scenario, time: float) -> World:
    probes = made.harm is Harm.PROBES
    since = made.begins + 30 if probes else made.unready[0]
    down = REPLICAS // 2 if probes else 1
    gone = since <= time < (math.inf if probes else made.unready[1])
    pods = tuple(
        pod(f"p{n}", ready=not (gone and n < down), since=_at(since if gone and n < down else -9e5))
        for n in range(REPLICAS)
    )
    item = deployment(replicas=REPLICAS, available=REPLICAS - (down if gone else 0))
    known: dict[type, tuple[object, ...]] = {Pod: pods, Deployment: (item,)}
    return World({read: Reading(_at(time), known.get(read.kind, ())) for read in READS})


def _observe(
    made: Scenario, scrapes: list[tuple[float, dict[Row, float]]], time: float, window: float = WINDOW
) -> Observation:
    inside = [scrape for at, scrape in scrapes if time - window + made.interval <= at < time]
    number = window / made.interval
    fold = _fold(inside[1:] if len(inside) >= number else inside, number / (number - 1))
    seen = fold.observation("production", _at(time), window, _sight(made, time), {}, ())
    return _fold(inside[-1:], 2.0).with_recent(seen, "production")


def _before(made: Scenario) -> Baseline:
    """An hour before the flip, without its accidents."""
    windows = []
    per_window = int(WINDOW / made.interval)
    for number in range(int(BEFORE / WINDOW)):
        first = -BEFORE - 900 + number * WINDOW
        scrapes = [_scrape(made, first + n * made.interval) for n in range(per_window)]
        windows.append(_fold(scrapes, 1.0).observation("production", _at(first), WINDOW, _sight(made, first), {}, ()))
    pods = [pod(f"p{n}") for n in range(REPLICAS)]
    workloads = fold_workloads([deployment(replicas=REPLICAS)], pods)
    return fold_baseline(windows, _at(-900), BEFORE, _sight(made, -900), workloads)


def run(made: Scenario) -> Result:
    """The watch, to its end or to the rollback."""
    baseline = _before(made)
    start = -WINDOW - 2 * made.interval
    times = [start + n * made.interval for n in range(int((WATCH - start) / made.interval))]
    scrapes = [(time, _scrape(made, time)) for time in times]
    watch = Watch()
    for time in _ticks(made):
        watch = msgspec.structs.replace(watch, began=_at(0) if time >= 0 else None)
        observation = _observe(made, scrapes, time)
        answer = judge(baseline, observation, watch, _world(made, time), "production", _at(time))
        if answer.verdict is Verdict.REGRESSED:
            return Result(made, time, answer.sentence)
        whole = SLOWLY * (time // SLOWLY)
        if whole > max(0.0, time - made.interval):
            windows = {min(whole, LATE), whole}
            if found := [s for w in windows for s in lost(baseline, _observe(made, scrapes, time, w))]:
                return Result(made, time, f"{found[0].where}: {found[0].measured}")
        newest = observation.sight.newest
        watch = Watch(began=watch.began, breached=answer.breached, sample=newest, verdict=answer.verdict)
    return Result(made, None, "")


def _ticks(made: Scenario) -> Iterator[float]:
    """From the flip on, which is as long before the watch as it drains."""
    time = made.interval - DRAIN
    while time <= WATCH:
        yield time
        time += made.interval


assert Objects(Pod) in READS
