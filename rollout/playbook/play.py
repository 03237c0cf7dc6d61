"""The loader's result, as values."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from rollout.record.spec import Exemption, Task, Waiver


class Order(StrEnum):
    """Which namespaces of a wave go first."""

    FEWEST_OFFENDERS = "fewest_offenders"
    NAME = "name"
    GIVEN = "given"


class Playbook(msgspec.Struct, frozen=True, kw_only=True):
    """A playbook with nothing left to resolve.

    Args:
        name: the file's name, as screens and `Spec.playbook_name` show it.
        title: the play's own name.
        path: where it was read.
        text: the file as it stands; runs keep it in their record.
        sha: SHA-256 of the text, hexadecimal.
        targets: names and globs of namespaces, or one label selector (see `selector`).
        serial: sizes of the waves, whole numbers or shares such as `25%`; the last one repeats.
        max_failures: how many namespaces may end rolled back or worse, a number or a share; inclusive.
        order: which namespaces of a wave go first.
        variables: the playbook's, with the command line's on top.
        tasks: in the machine's order, implicit ones (line 0) included.
        waivers: `waive:`.
        exemptions: `exempt:`.
        require_guard: without a terminal, no flip unless somebody would pick the run up.
        warnings: sentences for people, such as an unknown check in a waiver.
    """

    name: str
    path: Path
    text: str
    sha: str
    title: str = ""
    targets: tuple[str, ...] = ()
    serial: tuple[int | str, ...] = ("100%",)
    max_failures: int | str = 0
    order: Order = Order.FEWEST_OFFENDERS
    variables: Mapping[str, Any] = {}
    tasks: tuple[Task, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    require_guard: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def selector(self) -> str:
        """The label selector, where `targets` is one, else ''."""
        return self.targets[0] if len(self.targets) == 1 and is_selector(self.targets[0]) else ""


def is_selector(target: str) -> bool:
    """It selects by labels (`team=a`, `env in (a, b)`, `!legacy`) and is no name or glob."""
    return "=" in target or "(" in target or target.startswith("!")
