"""Finds the checks: every module of this package that has META, READS and check. A new check is a new file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from types import ModuleType

import msgspec

import rollout.checks
from rollout.checks.meta import Meta
from rollout.checks.view import Findings, View
from rollout.record.state import State


class Check(msgspec.Struct, frozen=True):
    """A check with its words and what it reads: kinds of objects, Evidence, AnalyzerMessage."""

    meta: Meta
    reads: tuple[type, ...]
    judge: Callable[[View], Findings]


@cache
def checks() -> tuple[Check, ...]:
    """All checks, in the order of the states that they guard, then by id."""
    order = {state: place for place, state in enumerate(State)}
    found = (_check(module) for module in _modules())
    return tuple(sorted((c for c in found if c), key=lambda check: (order[check.meta.state], check.meta.id)))


def find(check_id: str) -> Check | None:
    """The check of this id."""
    return next((check for check in checks() if check.meta.id == check_id), None)


def _modules() -> list[ModuleType]:
    names = sorted(module.name for module in pkgutil.iter_modules(rollout.checks.__path__))
    return [importlib.import_module(f"rollout.checks.{name}") for name in names]


def _check(module: ModuleType) -> Check | None:
    if not all(hasattr(module, name) for name in ("META", "READS", "check")):
        return None
    return Check(module.META, module.READS, module.check)
