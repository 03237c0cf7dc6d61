"""A small language to load playbooks with: the loader receives the stages' arguments as a value."""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from rollout.playbook.errors import PlaybookErrors
from rollout.playbook.loader import load
from rollout.playbook.play import Playbook


class Does(StrEnum):
    """Two choices."""

    HOLD = "hold"
    ROLL_BACK = "roll_back"


class Checks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """verify and check."""

    checks: tuple[str, ...] = ()


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class Confirm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A duration."""

    look_back: timedelta = timedelta(days=8)


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A duration under a Python keyword, a choice, a bounded number."""

    for_: timedelta = msgspec.field(name="for", default=timedelta(minutes=30))
    on_blind: Does = Does.HOLD
    on_regression: Does = Does.ROLL_BACK
    samples: Annotated[int, msgspec.Meta(ge=1)] = 2
    deadline: timedelta | None = None


KEYWORDS: dict[str, type[msgspec.Struct]] = {
    "verify": Checks,
    "permissive": Nothing,
    "confirm_mtls": Confirm,
    "check": Checks,
    "strict": Nothing,
    "watch": Watch,
}
CHECKS = {
    "injection": "verify",
    "proxies-in-sync": "verify",
    "effective-mode": "permissive",
    "plaintext-callers": "confirm_mtls",
    "destination-rules": "check",
    "probes": "check",
    "istioctl-analyze": "check",
    "jobs": "check",
}


def load_path(path: Path | None, **variables: str) -> Playbook:
    """A file, with the small language."""
    return load(path, keywords=KEYWORDS, checks=CHECKS, variables=variables)


@pytest.fixture
def shipped_book() -> Playbook:
    """The playbook that comes with the tool."""
    return load_path(None, namespaces="production")


@pytest.fixture
def book(tmp_path: Path) -> Callable[..., Playbook]:
    """Load a text."""

    def _book(text: str, **variables: str) -> Playbook:
        path = tmp_path / "book.yaml"
        path.write_text(text, encoding="utf-8")
        return load_path(path, **variables)

    return _book


@pytest.fixture
def mistakes(book: Callable[..., Playbook]) -> Callable[..., list[tuple[int, int, str, str]]]:
    """Load a text that is wrong; line, column, message and hint of each mistake."""

    def _mistakes(text: str, **variables: str) -> list[tuple[int, int, str, str]]:
        with pytest.raises(PlaybookErrors) as caught:
            book(text, **variables)
        return [(p.line, p.column, p.message, p.hint) for p in caught.value.problems]

    return _mistakes


@pytest.fixture
def tasks_of() -> Callable[[Playbook], list[tuple[str, dict[str, Any]]]]:
    """Keyword and arguments of each task."""

    def _tasks_of(loaded: Playbook) -> list[tuple[str, dict[str, Any]]]:
        return [(task.keyword, task.args) for task in loaded.tasks]

    return _tasks_of
