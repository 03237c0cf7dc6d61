"""What happened, one value an event.

Facts go to the cluster's journal and to the local mirror and are all that a decision may read. Notes go to the mirror
only, for reports. On the wire an event is one JSON object: `v`, `seq`, `t`, `type` and its own fields.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from rollout.model.finding import CheckResult
from rollout.model.judgement import Baseline, Signal, Verdict
from rollout.model.traffic import Evidence, Sight
from rollout.record.change import Change, Permit
from rollout.record.spec import Spec
from rollout.record.state import State

#: Version of the shapes below. A change of a shape needs a new number and a corpus file of the old one.
VERSION = 1


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base: version, place in the journal, and when (UTC)."""

    t: datetime
    seq: int = 0
    v: int = VERSION


class Started(Event, frozen=True, tag="spec"):
    """Always the first event."""

    spec: Spec


class Moved(Event, frozen=True, tag="state"):
    """The run went from one state to another; `why` is a sentence for people, `signals` what led to a rollback."""

    from_: State = msgspec.field(name="from")
    to: State
    why: str = ""
    outcome: str = ""
    signals: tuple[Signal, ...] = ()


class Intended(Event, frozen=True, tag="intent"):
    """A change is about to be written; its inverse is the undo's intent."""

    change: Change
    permit: Permit | None = None
    accepted: tuple[str, ...] = ()


class Done(Event, frozen=True, tag="done"):
    """A change was written, at `of`'s intent (0: an undo, whose intent came with the flip).

    `since` is the earliest moment at which it can have been written, where another process finds it done: proxies
    that took it before it was recorded must count as having it.
    """

    of: int
    change: Change
    resource_version: str
    undo: bool = False
    since: datetime | None = None


class FailureKind(StrEnum):
    """Why a write did not happen, or is not known to have; `denied` is 401 or 403: these credentials never may."""

    REFUSED = "refused"
    DENIED = "denied"
    CONFLICT = "conflict"
    FOREIGN = "foreign"
    UNSURE = "unsure"
    VOID = "void"


class Failed(Event, frozen=True, tag="failed"):
    """A write did not happen (or nobody knows: `unsure`, which is read again)."""

    of: int
    kind: FailureKind
    reason: str
    undo: bool = False
    owner: str = ""


class Checked(Event, frozen=True, tag="checks"):
    """What the checks of a state said; `state` is the one being left."""

    state: State
    results: tuple[CheckResult, ...]


class Confirmed(Event, frozen=True, tag="evidence"):
    """What the look-back said; `edges` may be cut to the worst hundred."""

    evidence: Evidence


class Baselined(Event, frozen=True, tag="baseline"):
    """What the watch will compare with."""

    baseline: Baseline


class ProofKind(StrEnum):
    """What a proof is of."""

    RIGHTS = "rights"
    FIRST_WRITE = "first_write"
    UNDO = "undo"
    PROPAGATION = "propagation"
    DRAIN = "drain"
    UNDO_PROPAGATION = "undo_propagation"


class Proven(Event, frozen=True, tag="proof"):
    """Something was proven, or (`ok` False) was not; `detail` says how."""

    of: ProofKind
    ok: bool
    detail: str = ""


class Ticks(Event, frozen=True, tag="ticks"):
    """`n` judgements of one verdict in a row, from the tick due at `since` to the one due at `until`.

    `sight` counts the seconds of sight that they add. `breached` are the signals over their limit on the last one.
    """

    verdict: Verdict
    since: datetime
    until: datetime
    n: int = 1
    sight: float = 0.0
    breached: tuple[str, ...] = ()
    sample: datetime | None = None


class RequestKind(StrEnum):
    """What somebody at another terminal, or a signal, asks of a run."""

    STOP = "stop"
    APPROVE = "approve"
    HOLD = "hold"
    RELEASE = "release"
    ROLL_BACK = "roll_back"


class Requested(Event, frozen=True, tag="request"):
    """A request; an approval names its task."""

    kind: RequestKind
    by: str = ""
    task: str = ""
    reason: str = ""
    to_start: bool = False


class Held(Event, frozen=True, tag="held"):
    """The run waits for a human (`approval`, `request`) or for sight (`blind`); `on` False ends it."""

    on: bool
    why: str = ""


class Ended(Event, frozen=True, tag="end"):
    """The process' work on the run is over; `sentence` says what is true now, `next` what to do."""

    outcome: str
    sentence: str = ""
    next: str = ""


class Resumed(Event, frozen=True, tag="resumed"):
    """Another process took the run up; `onward`: somebody said to go on behind where `until` had it stop."""

    by: str
    onward: bool = False
    gap_from: datetime | None = None


class Ticked(Event, frozen=True, tag="tick"):
    """Note: one judgement with its numbers and queries."""

    due: datetime
    verdict: Verdict
    signals: tuple[Signal, ...] = ()
    sight: Sight | None = None
    sentence: str = ""


class Noted(Event, frozen=True, tag="note"):
    """Note: anything that a reader of the report wants to know."""

    text: str


Fact = (
    Started
    | Moved
    | Intended
    | Done
    | Failed
    | Checked
    | Confirmed
    | Baselined
    | Proven
    | Ticks
    | Requested
    | Held
    | Ended
    | Resumed
)
Note = Ticked | Noted
NOTES = (Ticked, Noted)
