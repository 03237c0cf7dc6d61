"""Label and field selectors of list, watch and deletecollection."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rollout.lab.api.names import label_key_problems, label_value_problems
from rollout.lab.api.status import ApiError, Json, bad_request, go

_TOKEN = re.compile(r"\s*(==|!=|=|!|,|\(|\)|<|>|[^\s,()=!<>]+)")
_OPERATORS = ("in", "notin", "=", "==", "!=", "<", ">")


class Requirement(NamedTuple):
    """One condition on a label: key, operator (in, notin, exists, !, gt, lt) and the values."""

    key: str
    operator: str
    values: frozenset[str]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected; `notin` selects objects without the key."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                return self._compare(value)

    def _compare(self, value: str | None) -> bool:
        if value is None or not re.fullmatch(r"-?\d+", value):
            return False
        limit = int(next(iter(self.values)))
        return int(value) > limit if self.operator == "gt" else int(value) < limit


class _Parser:
    def __init__(self, text: str) -> None:
        self.words = _TOKEN.findall(text)
        self.at = 0

    def peek(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def take(self) -> str:
        word = self.peek()
        self.at += 1
        return word

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            return Requirement(self._key(), "!", frozenset())
        key = self._key()
        word = self.peek()
        if word in ("", ","):
            return Requirement(key, "exists", frozenset())
        if word not in _OPERATORS:
            raise _unparsable(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")
        self.take()
        if word in ("in", "notin"):
            return Requirement(key, word, self._set(key))
        value = "" if self.peek() in ("", ",") else self.take()
        if word in "<>":
            return self._number(key, word, value)
        _check_value(key, value, 0)
        return Requirement(key, "notin" if word == "!=" else "in", frozenset((value,)))

    def _key(self) -> str:
        key = self.take()
        if key in ("", ",", "(", ")", "=", "==", "!=", "<", ">", "!"):
            raise _unparsable(f"found '{key}', expected: identifier" if key else "found '', expected: identifier")
        problems = label_key_problems(key)
        if problems:
            raise _unparsable(f"<nil>: Invalid value: {go(key)}: {problems[0]}")
        return key

    def _number(self, key: str, word: str, value: str) -> Requirement:
        if not re.fullmatch(r"-?\d+", value):
            why = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise _unparsable(f"values[0]: Invalid value: {go(value)}: {why}")
        return Requirement(key, "gt" if word == ">" else "lt", frozenset((value,)))

    def _set(self, key: str) -> frozenset[str]:
        word = self.take()
        if word != "(":
            raise _unparsable(f"found '{word}' expected: '('")
        values: list[str] = []
        last = ","
        while True:
            word = self.take()
            if word == ")":
                if last == ",":
                    values.append("")
                break
            if word == ",":
                if last == ",":
                    values.append("")
            elif word == "" or last != ",":
                raise _unparsable(f"found '{word}', expected: ',' or ')'")
            else:
                values.append(word)
            last = word
        for index, value in enumerate(sorted(values)):
            _check_value(key, value, index)
        return frozenset(values)


def _check_value(key: str, value: str, index: int) -> None:
    problems = label_value_problems(value)
    if problems:
        raise _unparsable(f"values[{index}][{key}]: Invalid value: {go(value)}: {problems[0]}")


def _unparsable(why: str) -> ApiError:
    return bad_request(f"unable to parse requirement: {why}")


def parse_labels(text: str) -> list[Requirement]:
    """The requirements of a `labelSelector`; all of them must hold.

    Raises:
        ApiError: 400 with the server's words.
    """
    if not text.strip():
        return []
    parser = _Parser(text)
    found: list[Requirement] = []
    while True:
        found.append(parser.requirement())
        word = parser.take()
        if word == "":
            return found
        if word != ",":
            raise _unparsable(f"found '{word}', expected: ',' or 'end of string'")
        if parser.peek() == "":
            raise _unparsable("found '', expected: identifier after ','")


class FieldTerm(NamedTuple):
    """One condition on a field: its path, whether it must be equal, and the value."""

    path: str
    equal: bool
    value: str


def parse_fields(text: str) -> list[FieldTerm]:
    """The terms of a `fieldSelector` (`a=b,c!=d`).

    Raises:
        ApiError: 400 with the server's words.
    """
    terms: list[FieldTerm] = []
    for part in _split(text):
        if part == "":
            continue
        for operator in ("!=", "==", "="):
            path, found, value = part.partition(operator)
            if found:
                terms.append(FieldTerm(path, operator != "!=", _unescape(value)))
                break
        else:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
    return terms


def _split(text: str) -> list[str]:
    return re.findall(r"(?:\\.|[^,\\])+", text)


def _unescape(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)


def field_value(obj: Json, path: str) -> str:
    """The value of a selectable field as text; '' when it is not there."""
    here: Any = obj
    for word in path.split("."):
        if not isinstance(here, dict):
            return ""
        here = here.get(word)
    if isinstance(here, bool):
        return "true" if here else "false"
    if path == "source" and isinstance(here, dict):  # of an event: selected by its component
        return str(here.get("component") or obj.get("reportingComponent") or "")
    return "" if here is None else str(here)


def matcher(labels: list[Requirement], fields: list[FieldTerm]) -> Callable[[Json], bool]:
    """A predicate on whole objects."""
    if not labels and not fields:
        return lambda _: True

    def matches(obj: Json) -> bool:
        own = obj["metadata"].get("labels") or {}
        return all(requirement.matches(own) for requirement in labels) and all(
            (field_value(obj, term.path) == term.value) is term.equal for term in fields
        )

    return matches
