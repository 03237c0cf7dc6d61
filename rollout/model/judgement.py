"""What the watch compares and what it says."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from rollout.model.traffic import Family, Party, Sight


class Verdict(StrEnum):
    """One tick's answer; `healthy` and `no_traffic` count as sight."""

    HEALTHY = "healthy"
    NO_TRAFFIC = "no_traffic"
    REGRESSED = "regressed"
    CANNOT_SEE = "cannot_see"
    INTERRUPTED = "interrupted"

    @property
    def sight(self) -> bool:
        """Time with this verdict counts towards the watch."""
        return self in (Verdict.HEALTHY, Verdict.NO_TRAFFIC)


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was compared on one tick.

    Args:
        name: stable id, such as `edge-survival`; `rollout explain` knows it.
        where: the edge, workload or object.
        measured: what was seen.
        limit: what would have been too much.
        verdict: REGRESSED only when hysteresis is served; HEALTHY otherwise.
        breached: the limit is passed on this sample; two new samples in a row make a regression.
        catastrophe: does not wait for hysteresis.
        window: the time looked at.
        query: the PromQL.
        note: what stands beside it ("Deployment orders 41→42 at 10:58").
    """

    name: str
    where: str
    measured: str
    limit: str
    verdict: Verdict
    breached: bool = False
    catastrophe: bool = False
    window: str = ""
    query: str = ""
    note: str = ""

    @property
    def key(self) -> str:
        """Identity across ticks."""
        return f"{self.name}:{self.where}"


class EdgeBaseline(msgspec.Struct, frozen=True):
    """An edge before the flip; rates per second, pauses in seconds.

    `tried` and `arrived` are the source's and the destination's view; `at_source` is False where the caller's proxy is
    not scraped. `errors` is the failed share at the source, `noise` its highest value over a window of the watch.
    `received_bytes` is per second at the destination (TCP): the sign of life of a pooled connection. `refused` and
    `refused_noise` are the shares of failures and refusals as the destination reports them.
    """

    source: Party
    destination: Party
    service: str
    family: Family
    tried: float = 0.0
    arrived: float = 0.0
    errors: float = 0.0
    noise: float = 0.0
    longest_pause: float = 0.0
    at_source: bool = True
    received_bytes: float = 0.0
    refused: float = 0.0
    refused_noise: float = 0.0

    @property
    def key(self) -> str:
        """`web/shop -> payments/ledger`."""
        return f"{self.source} -> {self.destination}"


class WorkloadBaseline(msgspec.Struct, frozen=True):
    """A workload before the flip."""

    ref: str
    desired: int
    available: int
    restarts: int = 0


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace before the flip: what `regressed` is measured against.

    `webhooks` are failed calls per second of the admission webhooks that it serves. `resets` are, per caller, the most
    connections to bare addresses per second that were reset in a window of the watch.
    """

    at: datetime
    window: float
    sight: Sight
    edges: tuple[EdgeBaseline, ...] = ()
    workloads: tuple[WorkloadBaseline, ...] = ()
    available_apis: tuple[str, ...] = ()
    destination_errors: float = 0.0
    destination_noise: float = 0.0
    webhooks: dict[str, float] = {}
    resets: dict[str, float] = {}


class Scaling(msgspec.Struct, frozen=True):
    """How many replicas of a workload are wanted now, and who wrote that last, when.

    `subresource`: through `scale`, as kubectl and autoscalers do, so that nothing else was written with it. `oldest`
    is when the oldest of its live pods was created; None without one, or where it was not asked.
    """

    ref: str
    desired: int
    by: str = ""
    at: datetime | None = None
    subresource: bool = False
    oldest: datetime | None = None

    def told(self, before: int) -> str:
        """`Deployment production/orders scaled 3→0 at 10:58 by kubectl`."""
        when = f" at {self.at:%H:%M}" if self.at else ""
        return f"{self.ref} scaled {before}→{self.desired}{when}" + (f" by {self.by}" if self.by else "")


class EdgeSample(msgspec.Struct, frozen=True):
    """An edge within one window of the watch; counts, not rates.

    The `recent_` ones are those of the last scrape interval (None: not asked): a burst that is over stays in the
    window for a while, but not there.
    """

    source: Party
    destination: Party
    service: str
    family: Family
    tried: float = 0.0
    failed: float = 0.0
    arrived: float = 0.0
    refused: float = 0.0
    received_bytes: float = 0.0
    recent_tried: float | None = None
    recent_failed: float | None = None
    recent_arrived: float | None = None
    recent_refused: float | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What Prometheus said on one tick.

    `steady` is False while the window holds too few samples of some proxy, as after an outage: what is not counted
    there may well have happened. `scalings` are the namespace's workloads as they are wanted now. `resets` are, per
    caller anywhere in the mesh, its TCP connections to bare addresses that the far end cut: whose address, nobody says.
    """

    at: datetime
    window: float
    sight: Sight
    edges: tuple[EdgeSample, ...] = ()
    destination_requests: float = 0.0
    destination_errors: float = 0.0
    steady: bool = True
    recent_requests: float | None = None
    recent_errors: float | None = None
    resets: dict[str, float] = {}
    queries: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    scalings: tuple[Scaling, ...] = ()


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A tick's verdict with its reasons; `breached` are the keys of the signals over their limit on this sample."""

    verdict: Verdict
    signals: tuple[Signal, ...] = ()
    breached: tuple[str, ...] = ()
    sentence: str = ""
    judged: int = 0
    quiet: int = 0
