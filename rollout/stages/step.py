"""What a decision can ask for: one step, carried out by the loop."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rollout.errors import Outcome
from rollout.model.judgement import Signal
from rollout.record.change import Change, Permit
from rollout.record.events import Fact, Note
from rollout.record.state import State
from rollout.world.reads import Read as Question


class Read(msgspec.Struct, frozen=True):
    """Ask the world."""

    reads: tuple[Question, ...]


class Write(msgspec.Struct, frozen=True):
    """Make a change that is not STRICT; `accepted` is what the server's dry runs said."""

    change: Change
    accepted: tuple[str, ...] = ()


class Flip(msgspec.Struct, frozen=True):
    """Make a STRICT change: there is none without a permit."""

    change: Change
    permit: Permit
    accepted: tuple[str, ...] = ()


class Undo(msgspec.Struct, frozen=True):
    """Take a change back; its intent came with the change."""

    change: Change


class Learn(msgspec.Struct, frozen=True):
    """Record facts and notes."""

    facts: tuple[Fact | Note, ...]


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do before `until`."""

    until: datetime
    why: str = ""


class Move(msgspec.Struct, frozen=True):
    """Go to another state, after recording `facts`."""

    to: State
    why: str = ""
    outcome: Outcome | None = None
    signals: tuple[Signal, ...] = ()
    facts: tuple[Fact | Note, ...] = ()


class End(msgspec.Struct, frozen=True):
    """The process is done with the run; the sentence says what is true now."""

    outcome: Outcome
    sentence: str
    next: str = ""


Step = Read | Write | Flip | Undo | Learn | Wait | Move | End
