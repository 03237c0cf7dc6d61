"""Faults: requests that go wrong on purpose, so that the tool can be seen to survive them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any


class Effect(StrEnum):
    """What a fault does."""

    STATUS = "status"
    OVERLOADED = "overloaded"
    LATENCY = "latency"
    DROP_BEFORE = "drop-before"
    DROP_AFTER = "drop-after"
    CONFLICT = "conflict"
    UNAUTHORIZED = "unauthorized"


@dataclass
class Fault:
    """One rule.

    Attributes:
        effect: what happens.
        method: regular expression on the method ('' matches all).
        path: regular expression searched in path and query.
        skip: how many matching requests pass first.
        count: how many are hit then; None: all.
        status, body: for STATUS: the answer (a text that starts with `{` goes out as JSON).
        retry_after: for OVERLOADED: seconds in the Retry-After header.
        seconds: for LATENCY: real seconds before the request is handled.
        token: only requests with this bearer token ('' matches all).
        since: only from this virtual time on (an expired token is UNAUTHORIZED with a time).
    """

    effect: Effect
    method: str = ""
    path: str = ""
    skip: int = 0
    count: int | None = None
    status: int = 500
    body: str = ""
    retry_after: int = 1
    seconds: float = 0.0
    token: str = ""
    since: datetime | None = None
    hits: int = field(default=0, compare=False)
    seen: int = field(default=0, compare=False)

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Fault:
        """A rule from JSON, with the attributes' names.

        Raises:
            ValueError: an unknown effect or key.
        """
        known = {each.name for each in fields(cls)} - {"hits", "seen"}
        unknown = set(document) - known
        if unknown:
            msg = f"unknown keys of a fault: {', '.join(sorted(unknown))}"
            raise ValueError(msg)
        values = dict(document)
        values["effect"] = Effect(values["effect"])
        if values.get("since"):
            values["since"] = datetime.fromisoformat(values["since"])
        return cls(**values)


class Faults:
    """The rules in force; the first that matches a request hits it."""

    def __init__(self, rules: Iterable[Fault] = ()) -> None:
        """Start with these rules."""
        self._rules = list(rules)
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Put a rule in force."""
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        """Let everything pass again."""
        with self._lock:
            self._rules.clear()

    def hit(self, method: str, target: str, now: datetime, token: str = "") -> Fault | None:
        """The fault that this request meets, which is counted by asking."""
        with self._lock:
            for rule in self._rules:
                if (rule.token and rule.token != token) or not self._matches(rule, method, target, now):
                    continue
                rule.seen += 1
                if rule.seen > rule.skip and (rule.count is None or rule.hits < rule.count):
                    rule.hits += 1
                    return rule
        return None

    @staticmethod
    def _matches(rule: Fault, method: str, target: str, now: datetime) -> bool:
        if rule.since is not None and now < rule.since:
            return False
        if rule.method and not re.fullmatch(rule.method, method):
            return False
        return not rule.path or re.search(rule.path, target) is not None
