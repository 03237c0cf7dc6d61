"""From signals to a verdict: hysteresis, grace and precedence (DESIGN.md "Watch: rules").

A regression needs the same breach on two new samples, catastrophe one. Regressed wins over blindness: what is seen to
be wrong is wrong. A tick without a new sample repeats what was breached, and decides nothing about traffic.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from rollout.judge.addresses import moved
from rollout.judge.baseline import ATTEMPTS
from rollout.judge.callers import without_sidecar
from rollout.judge.edges import destination, errors, pools, silence, survival
from rollout.judge.kubernetes import READS, changes, cluster_signals
from rollout.judge.signals import OF_CLUSTER, SILENCE
from rollout.model.judgement import Baseline, Judgement, Observation, Signal, Verdict
from rollout.model.kubernetes import DaemonSet, Deployment, StatefulSet
from rollout.model.traffic import Party
from rollout.record.run import Watch
from rollout.world.baseline import edge_key
from rollout.world.sight import partial_answer
from rollout.world.world import KindUnreadable, Unreadable, World


def judge(
    baseline: Baseline,
    observation: Observation | Unreadable,
    run_watch: Watch,
    world: World,
    namespace: str,
    now: datetime,
    *,
    settled: datetime | None = None,
    open_to: Collection[Party] = (),
) -> Judgement:
    """One tick's verdict.

    Args:
        baseline: before the flip.
        observation: the newest window, or why there is none.
        run_watch: what the ticks before said; `sample` and `breached` carry the hysteresis.
        world: holds the answers to `READS`.
        namespace: the run's.
        now: the tick's time.
        settled: when propagation and drain were over (default: when the watch began). Ratios over a window that
            reaches back before it are not judged, because the flip cuts healthy work, too. None of both: not yet.
        open_to: the workloads with a port that is not STRICT now: who speaks plaintext to them was not cut.

    Raises:
        Needs: the world lacks one of READS.
    """
    world.need(*READS)
    cluster, unread = cluster_signals(baseline, world, namespace, now)
    kept = tuple(key for key in run_watch.breached if not key.startswith(OF_CLUSTER))
    traffic: tuple[Signal, ...] = ()
    if isinstance(observation, Unreadable):
        why = observation.reason
    else:
        why = unread or _blind(observation)
        if _new(observation, run_watch):
            traffic = _traffic(baseline, observation, world, settled or run_watch.began, open_to)
            kept = tuple(signal.key for signal in traffic if signal.breached)
    signals = tuple(_served(signal, run_watch.breached) for signal in (*cluster, *traffic))
    verdict = _verdict(signals, observation, why)
    signals = _noted(signals, world, namespace, baseline.at)
    judged, quiet = _counted(baseline, observation)
    return Judgement(
        verdict=verdict,
        signals=signals,
        breached=tuple(sorted({*kept, *(signal.key for signal in cluster if signal.breached)})),
        sentence=_sentence(verdict, signals, why, judged, quiet),
        judged=judged,
        quiet=quiet,
    )


def _new(observation: Observation, watch: Watch) -> bool:
    newest = observation.sight.newest
    return newest is not None and (watch.sample is None or newest > watch.sample)


def _traffic(
    baseline: Baseline,
    observation: Observation,
    world: World,
    settled: datetime | None,
    open_to: Collection[Party],
) -> tuple[Signal, ...]:
    found: list[Signal] = []
    # An unscraped destination looks exactly like one that refuses, and so does one with a single sample.
    if observation.steady and not _blind(observation):
        found += survival(baseline, observation)
        found += silence(baseline, observation, open_to)
        found += pools(baseline, observation)
        found += moved(baseline, observation)
        found += without_sidecar(baseline, observation, world)
    window = timedelta(seconds=observation.window + observation.sight.interval)
    if settled is not None and observation.at - window >= settled:
        found += errors(baseline, observation)
        found += destination(baseline, observation)
    return tuple(found)


def _served(signal: Signal, before: Iterable[str]) -> Signal:
    regressed = signal.breached and (signal.catastrophe or signal.key in before)
    return msgspec.structs.replace(signal, verdict=Verdict.REGRESSED) if regressed else signal


def _blind(observation: Observation) -> str:
    sight = observation.sight
    if partial := partial_answer(observation.warnings):
        return f"Prometheus answered in part: {partial}"
    if not sight.expected:
        if observation.scalings and all(scaling.desired == 0 for scaling in observation.scalings):
            return ""
        return "no proxy of the namespace is expected to be scraped"
    if missing := sight.missing:
        return f"{len(sight.seen)} of {len(sight.expected)} proxies are scraped; missing: {', '.join(missing[:5])}"
    return ""


def _verdict(signals: Sequence[Signal], observation: Observation | Unreadable, why: str) -> Verdict:
    if any(signal.verdict is Verdict.REGRESSED for signal in signals):
        return Verdict.REGRESSED
    if why or isinstance(observation, Unreadable):
        return Verdict.CANNOT_SEE
    flowed = any(edge.tried or edge.arrived or edge.received_bytes for edge in observation.edges)
    return Verdict.HEALTHY if flowed else Verdict.NO_TRAFFIC


def _noted(signals: tuple[Signal, ...], world: World, namespace: str, since: datetime) -> tuple[Signal, ...]:
    """Beside every regression stands what else changed since the baseline."""
    if not any(signal.verdict is Verdict.REGRESSED for signal in signals):
        return signals
    try:
        workloads = (
            *world.of(Deployment, namespace),
            *world.of(StatefulSet, namespace),
            *world.of(DaemonSet, namespace),
        )
    except KindUnreadable:
        return signals
    note = "; ".join(changes(workloads, since))
    return tuple(
        msgspec.structs.replace(signal, note=note) if signal.verdict is Verdict.REGRESSED else signal
        for signal in signals
    )


def _counted(baseline: Baseline, observation: Observation | Unreadable) -> tuple[int, int]:
    """Edges with enough traffic to judge, and those that are too quiet."""
    if isinstance(observation, Unreadable):
        return 0, len(baseline.edges)
    busy = {edge_key(edge) for edge in observation.edges if max(edge.tried, edge.arrived) >= ATTEMPTS}
    everyone = {edge_key(edge) for edge in baseline.edges} | {edge_key(edge) for edge in observation.edges}
    return len(busy), len(everyone - busy)


def _sentence(verdict: Verdict, signals: Sequence[Signal], why: str, judged: int, quiet: int) -> str:
    match verdict:
        case Verdict.REGRESSED:
            worst = next(signal for signal in signals if signal.verdict is Verdict.REGRESSED)
            more = sum(signal.verdict is Verdict.REGRESSED for signal in signals) - 1
            tail = f" (and {more} more)" if more else ""
            return f"{worst.name} of {worst.where}: {worst.measured}, limit {worst.limit}{tail}"
        case Verdict.CANNOT_SEE:
            return f"cannot see: {why}"
        case Verdict.NO_TRAFFIC:
            return f"no traffic; {quiet} edges are too quiet to judge"
        case Verdict.HEALTHY | Verdict.INTERRUPTED:
            breached = [signal.where for signal in signals if signal.breached]
            tail = f"; over a limit once: {', '.join(breached[:3])}" if breached else ""
            silent = [signal.where for signal in signals if signal.name == SILENCE and not signal.breached]
            tail += f"; silent at both ends, the caller stopped: {', '.join(silent[:3])}" if silent else ""
            return f"{judged} edges judged, {quiet} too quiet{tail}"
        case _:
            assert_never(verdict)
