"""The table of states."""

import pytest

from rollout.errors import RecordError
from rollout.record.state import ENDS, TABLE, State, mermaid, move, trigger


@pytest.mark.parametrize(("source", "dest"), [(s, d) for s in State for d in State])
def test_exactly_the_moves_of_the_table_are_made(source: State, dest: State) -> None:
    """Every pair is either in the table and made, or refused."""
    if trigger(source, dest) is None:
        with pytest.raises(RecordError, match=f"from {source} to {dest}"):
            move(source, dest)
    else:
        assert dest is move(source, dest)


def test_every_state_is_reachable() -> None:
    """No state stands alone."""
    assert set(State) == {State.PLANNED} | {dest for _, _, dest in TABLE}


def test_rollback_is_reachable_from_every_state_after_the_flip() -> None:
    """Safety 4."""
    assert all(trigger(s, State.ROLLING_BACK) == "roll_back" for s in (State.ENFORCING, State.WATCHING, State.ENFORCED))


def test_ends_are_left_by_rollback_or_in_a_dry_run_only() -> None:
    """A run that ended stays ended."""
    assert {"roll_back", "assume"} == {name for name, source, _ in TABLE if source in ENDS}


def test_the_diagram_names_every_move() -> None:
    """The docs draw the table."""
    drawn = mermaid()
    assert all(f"{source} --> {dest}: {name}" in drawn for name, source, dest in TABLE)
