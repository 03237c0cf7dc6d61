"""Callers that went over to pod addresses: their sidecars know no Service there, and pass plaintext through.

Pure. An HTTP call names the address, and so has an edge (`edges.survival`). A TCP connection names none: only its
caller is known, and that the far end reset it. So two things are joined: an edge of the baseline that fell silent at
both ends, and resets of its caller's connections to bare addresses that were not usual before the flip.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from rollout.judge.baseline import ATTEMPTS, BAD, SIGMAS, place, silent
from rollout.judge.scaling import Excused
from rollout.judge.signals import SURVIVAL
from rollout.model.judgement import Baseline, EdgeBaseline, Observation, Signal, Verdict
from rollout.world.baseline import edge_key

#: Resets that are asked of an edge that is not busy, and events that such an edge must have had in the window.
FEW = 3


def moved(baseline: Baseline, observation: Observation, *, verdict: Verdict = Verdict.HEALTHY) -> Iterator[Signal]:
    """One signal per edge that fell silent and whose caller's connections to bare addresses are reset instead.

    Args:
        baseline: before the flip.
        observation: with full sight of the destination.
        verdict: of the signals; a long window needs no second sample.
    """
    now = {edge_key(edge): edge for edge in observation.edges}
    excused = Excused(baseline, observation)
    for known in baseline.edges:
        cut = observation.resets.get(str(known.source), 0.0)
        if not cut or known.source in excused or known.destination in excused:
            continue
        limit = _limit(baseline, known, observation.window)
        if cut < limit or not _due(known, observation.window) or not silent(now.get(edge_key(known))):
            continue
        yield Signal(
            name=SURVIVAL,
            where=place(known, known),
            measured=f"nothing in {observation.window:.0f}s, {max(known.tried, known.arrived):.2f}/s before; instead "
            f"{cut:.0f} connections of {known.source} to bare addresses were reset, as STRICT resets plaintext",
            limit=f"fewer than {limit:.0f} resets while the edge is silent",
            verdict=verdict,
            breached=True,
            window=f"{observation.window:.0f}s",
            query=observation.queries.get("reset", ""),
        )


def beside(baseline: Baseline, observation: Observation) -> tuple[str, ...]:
    """Callers that are reset at bare addresses as never before, while their edges live: whose address, nobody says."""
    callers: dict[str, EdgeBaseline] = {}
    for edge in baseline.edges:
        if edge.at_source and observation.resets.get(str(edge.source), 0.0) >= _limit(
            baseline, edge, observation.window
        ):
            callers.setdefault(str(edge.source), edge)
    return tuple(
        f"{observation.resets[name]:.0f} connections of {name} to bare addresses were reset, and none is known by its "
        "address: they may have been this namespace's pods"
        for name in sorted(callers)
    )


def _due(known: EdgeBaseline, window: float) -> bool:
    """It had so much to say, and so short pauses, that a silent window is strange."""
    alive = known.received_bytes > 0 or max(known.tried, known.arrived) * window >= FEW
    return alive and window > 1.5 * known.longest_pause


def _limit(baseline: Baseline, known: EdgeBaseline, window: float) -> float:
    """So many resets are strange: over what was usual for the caller, and over its noise."""
    usual = baseline.resets.get(str(known.source), 0.0) * window
    least = BAD if known.tried * window >= ATTEMPTS else FEW
    return least + usual + SIGMAS * sqrt(usual)
