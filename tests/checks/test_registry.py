"""Checks are found by themselves and say in words what they are for."""

from __future__ import annotations

import pytest

from rollout.checks.registry import Check, checks, find
from rollout.checks.run import reads
from rollout.model.kubernetes import Object, Pod, Service
from rollout.record.state import State

GUARDED = {State.VERIFYING, State.PERMISSIVE, State.CONFIRMING, State.CHECKING}


def test_ids_are_unique() -> None:
    """An id names one check in waivers, playbooks and reports."""
    ids = [check.meta.id for check in checks()]
    assert sorted(set(ids)) == sorted(ids)


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.meta.id)
def test_every_check_explains_itself(check: Check) -> None:
    """Title, why and fix stand in the docstring, and the state's exit is one that checks guard."""
    meta = check.meta
    assert meta.title
    assert not meta.title.endswith(".")
    assert len(meta.why) > 40
    assert len(meta.fix) > 20
    assert "\n" not in meta.why
    assert meta.state in GUARDED
    assert check.reads
    assert meta.id == check.judge.__module__.rpartition(".")[2].replace("_", "-")


def test_an_unknown_id_finds_nothing() -> None:
    """The loader makes that an error with its line."""
    assert find("no-such-check") is None


def test_reads_are_objects_only_each_once() -> None:
    """Evidence and analyzer messages are no kinds of the API; the stages read them by other means."""
    kinds = reads()
    assert len(set(kinds)) == len(kinds)
    assert all(issubclass(kind, Object) for kind in kinds)
    assert {Pod, Service} <= set(kinds)
    assert set(reads({State.CONFIRMING})) < set(kinds)
    assert reads(set()) == ()
