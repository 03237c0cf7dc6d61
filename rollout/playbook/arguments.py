"""A keyword's arguments: the stage's own struct is the schema, each field a possible mistake with its own line."""

from __future__ import annotations

import enum
import re
import typing
from collections.abc import Iterator
from datetime import timedelta
from types import UnionType
from typing import Any

import msgspec
from yaml.nodes import Node

from rollout.playbook import yaml
from rollout.playbook.scope import BROKEN, Scope
from rollout.playbook.words import hint, quoted

_DURATION = re.compile(r"^(?:(\d{1,4})w)?(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,7})m)?(?:(\d{1,8})s)?$")
#: A shorter watch sees too few samples to judge anything; no span of time is negative.
_LEAST = {"watch.for": timedelta(minutes=1)}
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "duration": "a duration such as 45s, 30m, 1h30m or 8d",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
    "datetime": "a date and time with its offset",
}


def duration(text: str) -> timedelta | None:
    """`45s`, `30m`, `1h30m`, `8d`, `2w`, or ISO 8601; None for anything else."""
    text = text.strip()
    match = _DURATION.match(text)
    if match and text:
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    if text.startswith("P"):
        try:
            return msgspec.convert(text, timedelta)
        except msgspec.ValidationError:
            return None
    return None


def read(
    node: Node, struct: type[msgspec.Struct], scope: Scope, what: str, skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The arguments that are written, each checked against its field; what is wrong is noted and left out."""
    if yaml.empty(node):
        return {}
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    if not fields:
        scope.problems.add(node.start_mark, f"{what} takes no arguments", f"write `{what}:` alone")
        return {}
    found = scope.keys(node, what, tuple(fields))
    args: dict[str, Any] = {}
    for name, (_, value) in (found or {}).items():
        if name not in skip:
            checked = _field(value, fields[name].type, scope, f"{what}.{name}")
            if checked is not BROKEN:
                args[name] = checked
    return args


def complete(args: dict[str, Any], struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The arguments with every default filled in, as plain values (durations in ISO 8601).

    Raises:
        msgspec.ValidationError: a field is missing, or two do not go together.
    """
    filled: dict[str, Any] = msgspec.to_builtins(msgspec.convert(args, struct))
    return filled


def _field(node: Node, wanted: Any, scope: Scope, what: str) -> Any:
    value = scope.value(node)
    if value is BROKEN:
        return BROKEN
    plain = _durations(value) if timedelta in set(_leaves(wanted)) else value
    choices = list(_choices(wanted))
    if choices and isinstance(value, str) and value not in choices and str not in set(_leaves(wanted)):
        scope.problems.add(node.start_mark, f"{what} cannot be {quoted(value)}", hint(value, choices))
        return BROKEN
    try:
        converted = msgspec.convert(plain, wanted)
    except msgspec.ValidationError as error:
        scope.problems.add(node.start_mark, f"{what} cannot be {quoted(value)}: {worded(error)}", _unit(value, wanted))
        return BROKEN
    least = _LEAST.get(what.replace("`", ""), timedelta(0))
    if isinstance(converted, timedelta) and converted < least:
        scope.problems.add(node.start_mark, f"{what} cannot be {quoted(value)}", f"at least {_spelt(least)}")
        return BROKEN
    return plain


def _spelt(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:g}m" if span else "0s"


def _durations(value: Any) -> Any:
    if isinstance(value, str):
        span = duration(value)
        return value if span is None else msgspec.to_builtins(span)
    return [_durations(item) for item in value] if isinstance(value, list) else value


def _unit(value: Any, wanted: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (
        f"which unit? {value}s, {value}m, {value}h or {value}d" if number and timedelta in set(_leaves(wanted)) else ""
    )


def _leaves(wanted: Any) -> Iterator[Any]:
    """The plain types within an annotation."""
    origin = typing.get_origin(wanted)
    if origin is typing.Annotated:
        yield from _leaves(typing.get_args(wanted)[0])
    elif origin in (typing.Union, UnionType, list, tuple, set, frozenset):
        for inner in typing.get_args(wanted):
            yield from _leaves(inner)
    else:
        yield wanted


def _choices(wanted: Any) -> Iterator[str]:
    for leaf in _leaves(wanted):
        if isinstance(leaf, type) and issubclass(leaf, enum.Enum):
            yield from (str(member.value) for member in leaf)


def worded(error: msgspec.ValidationError) -> str:
    """msgspec's message in the words of a person who writes YAML."""
    text = str(error).partition(" - at `")[0]
    text = re.sub(r"`([^`]*)`", lambda m: " or ".join(_WORDS.get(w, w) for w in m[1].split(" | ")), text)
    if text.startswith(("Invalid duration", "Invalid ISO8601 duration", "Duration is out of range")):
        return f"expected {_WORDS['duration']}"
    return text[:1].lower() + text[1:]
