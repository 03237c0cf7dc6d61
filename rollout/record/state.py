"""The states of a run and the table of moves between them: data, from which the diagram in the docs is drawn.

`transitions` refuses what the table does not allow. No guards and no callbacks: the library swallows their errors
(facts: libraries.md 1.4), and whether a move is wise is for `decide` to say.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache

from transitions import Machine

from rollout.errors import RecordError


class State(StrEnum):
    """Where a run is."""

    PLANNED = "planned"
    VERIFYING = "verifying"
    PERMISSIVE = "permissive"
    CONFIRMING = "confirming"
    CHECKING = "checking"
    ENFORCING = "enforcing"
    WATCHING = "watching"
    ENFORCED = "enforced"
    BLOCKED = "blocked"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    OVERRIDDEN = "overridden"


#: A run in one of these is over, and may only be taken up by `rollback` or `resume`.
ENDS = frozenset({State.ENFORCED, State.BLOCKED, State.ROLLED_BACK, State.ROLLBACK_FAILED, State.OVERRIDDEN})

S = State
#: (trigger, from, to). `assume` passes a block in a dry run; a live journal refuses it.
TABLE: tuple[tuple[str, State, State], ...] = (
    ("next", S.PLANNED, S.VERIFYING),
    ("next", S.VERIFYING, S.PERMISSIVE),
    ("next", S.PERMISSIVE, S.CONFIRMING),
    ("next", S.CONFIRMING, S.CHECKING),
    ("next", S.CHECKING, S.ENFORCING),
    ("next", S.ENFORCING, S.WATCHING),
    ("next", S.WATCHING, S.ENFORCED),
    ("unchanged", S.VERIFYING, S.ENFORCED),
    *(
        ("block", state, S.BLOCKED)
        for state in (S.PLANNED, S.VERIFYING, S.PERMISSIVE, S.CONFIRMING, S.CHECKING, S.ENFORCING)
    ),
    ("assume", S.BLOCKED, S.PERMISSIVE),
    ("assume", S.BLOCKED, S.CONFIRMING),
    ("assume", S.BLOCKED, S.CHECKING),
    ("assume", S.BLOCKED, S.ENFORCING),
    ("assume", S.BLOCKED, S.WATCHING),
    ("roll_back", S.PERMISSIVE, S.ROLLING_BACK),
    ("roll_back", S.CONFIRMING, S.ROLLING_BACK),
    ("roll_back", S.CHECKING, S.ROLLING_BACK),
    ("roll_back", S.ENFORCING, S.ROLLING_BACK),
    ("roll_back", S.WATCHING, S.ROLLING_BACK),
    ("roll_back", S.ENFORCED, S.ROLLING_BACK),
    ("roll_back", S.BLOCKED, S.ROLLING_BACK),
    ("roll_back", S.ROLLED_BACK, S.ROLLING_BACK),
    ("roll_back", S.ROLLBACK_FAILED, S.ROLLING_BACK),
    ("prove", S.ROLLING_BACK, S.ROLLED_BACK),
    ("fail", S.ROLLING_BACK, S.ROLLBACK_FAILED),
    *(
        ("override", state, S.OVERRIDDEN)
        for state in (S.PERMISSIVE, S.CONFIRMING, S.CHECKING, S.ENFORCING, S.WATCHING, S.ROLLING_BACK)
    ),
)


class _Cursor:
    """The model that the machine moves."""

    state: State


def _machine() -> Machine:
    moves = [{"trigger": f"{source}>{dest}", "source": source.value, "dest": dest.value} for _, source, dest in TABLE]
    return Machine(
        model=None,
        states=[state.value for state in State],
        transitions=moves,
        initial=State.PLANNED.value,
        auto_transitions=False,
        send_event=False,
        queued=False,
    )


_MACHINE = _machine()


def trigger(source: State, dest: State) -> str | None:
    """The name of the move, or None where the table has none."""
    return next((name for name, a, b in TABLE if (a, b) == (source, dest)), None)


@cache
def move(source: State, dest: State) -> State:
    """Make one move; the table does not change, so the machine is asked once for each.

    Raises:
        RecordError: the table does not allow it.
    """
    fired = _MACHINE.events.get(f"{source}>{dest}")
    if fired is None:
        raise RecordError(f"a run cannot go from {source} to {dest}", limit="the table of states")
    cursor = _Cursor()
    _MACHINE.add_model(cursor, initial=source.value)
    try:
        fired.trigger(cursor)
        return State(cursor.state)
    finally:
        _MACHINE.remove_model(cursor)


def mermaid() -> str:
    """The diagram of the docs, in Mermaid's language."""
    lines = ["stateDiagram-v2", "    [*] --> planned"]
    lines += [f"    {source} --> {dest}: {name}" for name, source, dest in TABLE]
    lines += [f"    {state} --> [*]" for state in sorted(ENDS)]
    return "\n".join(lines)
