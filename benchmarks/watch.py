"""A watch of 200 namespaces by one process: queries, requests and CPU seconds of one tick.

The runs are put into the state that follows the flip (their journals are written, the server's policies are STRICT
already), and then the loop of `rollout migrate` drives them to their end, over the same adapters and with its journal
and leases. Time is the lab's, so minutes pass in seconds. Aim: at most 4 queries and 2 s of CPU a tick.

python benchmarks/watch.py [--pods 5000] [--namespaces 200] [--minutes 5]
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise

from cluster import Server

from rollout.cli.assignment import playbook, targets
from rollout.cli.migrate import _specs, io_of
from rollout.cli.parser import parser
from rollout.cli.screen import Screen
from rollout.cli.wiring import Ports, Running, connected
from rollout.lifecycle.loop import drive
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Pod
from rollout.record.change import Change, Permit, Policy
from rollout.record.events import Baselined, Done, Fact, Intended, Moved, ProofKind, Proven, Started
from rollout.record.run import Run, begin
from rollout.record.state import State
from rollout.world.reads import Before, Objects
from rollout.world.world import World

WAY = (State.PLANNED, State.VERIFYING, State.PERMISSIVE, State.CONFIRMING, State.CHECKING, State.ENFORCING)


def flipped(p: Ports, names: list[str], minutes: float) -> list[Run]:
    """A run for each namespace, as it stands when the drain is over."""
    args = parser().parse_args(["migrate", "--all-namespaces", "-e", f"watch_for={minutes:g}m"])
    book = playbook(None, args.extra_vars, names)
    io = io_of(p, Screen(quiet=True))
    before = {name: Before(name, 600.0) for name in names}
    world = io.read(World(), [Objects(Pod), Objects(PeerAuthentication), *before.values()])
    runs = []
    for name, spec in _specs(args, book, p, names, plan=False).items():
        first = Started(t=spec.started, seq=1, spec=spec)
        p.journal.create(first)
        p.lease.acquire(name, spec.run)
        run = begin(first)
        for fact in _facts(world, before[name], p.clock.now()):
            run = io.append(run, fact)
        runs.append(run)
    p.journal.flush()
    return runs


def _facts(world: World, before: Before, now: datetime) -> Iterable[Fact]:
    for here, there in pairwise(WAY):
        yield Moved(t=now, from_=here, to=there)
    live = world.of(PeerAuthentication, before.namespace)[0]
    change = Change(
        ref=live.ref, before=Policy(Mode.PERMISSIVE), after=Policy(Mode.STRICT), uid=live.metadata.uid
    )  # fmt: skip
    permit = Permit(at=now, resource_version="1", oldest_read=now, evidence="", evidence_end=now, checks="",
                    undo_proof="")  # fmt: skip
    yield Baselined(t=now, baseline=world.get(before))
    yield Intended(t=now, change=change, permit=permit)
    yield Done(t=now, of=8, change=change, resource_version="2")
    for kind in (ProofKind.UNDO, ProofKind.PROPAGATION, ProofKind.DRAIN):
        yield Proven(t=now, of=kind, ok=True)
    yield Moved(t=now, from_=State.ENFORCING, to=State.WATCHING)


def main(pods: int, namespaces: int, minutes: float) -> None:
    """Build, drive, print."""
    with Server(pods=pods, namespaces=namespaces, strict=True) as server, ExitStack() as stack:
        os.environ["HOME"] = os.environ["XDG_STATE_HOME"] = server.home
        args = parser().parse_args(["migrate", "--all-namespaces", "--lab", server.url])
        p = connected(args, Running(server.url), stack)
        runs = flipped(p, targets(p.cluster, args), minutes)
        print(f"{pods} pods, {len(runs)} namespaces, {server.series} series; {minutes:g} minutes of sight")
        io = io_of(p, Screen(quiet=True))
        server.took()
        wall, cpu = time.perf_counter(), time.process_time()
        ended = drive(runs, io)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        took = server.took()
        ticks = max(run.watch.ticks for run in ended)
        queries = sum(n for name, n in took["requests"].items() if name.startswith("prometheus"))
        print(f"  ends: {dict(Counter(run.result.label for run in ended if run.result))}; {ticks} ticks")
        print(f"  a tick: {queries / ticks:.1f} queries, {cpu / ticks:.2f} s CPU, {wall / ticks:.2f} s wall, of which"
              f" Prometheus {took['seconds']['prometheus'] / ticks:.2f} s")  # fmt: skip
        print(
            "  requests a tick: " + ", ".join(f"{n / ticks:.1f} {name}" for name, n in sorted(took["requests"].items()))
        )


if __name__ == "__main__":
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--pods", type=int, default=5000)
    wanted.add_argument("--namespaces", type=int, default=200)
    wanted.add_argument("--minutes", type=float, default=5)
    asked = wanted.parse_args()
    main(asked.pods, asked.namespaces, asked.minutes)
