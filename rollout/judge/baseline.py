"""How a measurement is compared with what was usual before the flip: bounds that know the noise."""

from __future__ import annotations

from math import sqrt

from rollout.model.judgement import Baseline, EdgeBaseline, EdgeSample
from rollout.world.baseline import EdgeKey, edge_key

#: Attempts at the source in a window, below which a silent destination proves nothing.
ATTEMPTS = 15
#: Bad events in a window, below which no ratio is a regression.
BAD = 10
#: A ratio must rise by this much over what was usual, and over four standard deviations of it.
RISE, SIGMAS = 0.03, 4.0
#: For an edge that nobody saw before the flip: most of its calls fail.
STRANGER = 0.5


def edges_before(baseline: Baseline) -> dict[EdgeKey, EdgeBaseline]:
    """The baseline's edges, to be found by what an edge of the watch is."""
    return {edge_key(edge): edge for edge in baseline.edges}


def bound(errors: float, noise: float, events: float) -> float:
    """The highest share of errors among `events` that is still usual; above 1 where nothing worked before."""
    usual = max(errors, noise)
    deviation = sqrt(usual * (1 - usual) / events) if events > 0 else 0.0
    return usual + RISE + SIGMAS * deviation


def silent(edge: EdgeSample | None) -> bool:
    """Neither end saw anything."""
    return edge is None or not (edge.tried or edge.arrived or edge.received_bytes)


def place(edge: EdgeSample | EdgeBaseline, before: EdgeBaseline | None = None) -> str:
    """`web/shop -> payments/ledger`: the same text on every tick, whoever of the destination's pods answered."""
    destination = before.destination if before is not None else edge.destination
    name = edge.service.split(".")[0]
    if name and name not in (destination.workload, "unknown"):
        return f"{edge.source} -> {destination} ({name}, {edge.family})"
    return f"{edge.source} -> {destination} ({edge.family})"
