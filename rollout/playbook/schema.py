"""A play's own keys: targets, waves, failures, variables, waivers and exemptions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any, Final

from yaml.nodes import Node, ScalarNode, SequenceNode

from rollout.playbook import yaml
from rollout.playbook.play import Order, is_selector
from rollout.playbook.rates import per_second
from rollout.playbook.scope import BROKEN, Scope
from rollout.playbook.words import closest, hint, quoted
from rollout.record.spec import Exemption, Waiver

PLAY_KEYS = (
    "name", "targets", "serial", "max_failures", "order", "vars", "tasks", "waive", "exempt", "require_guard",
)  # fmt: skip
#: The variable that holds the command line's namespaces; it stays text (a namespace may be called `123` or `true`).
NAMESPACES: Final = "namespaces"
_SHARE = re.compile(r"^(\d{1,3})%$")
_NAME = re.compile(r"^[a-z0-9*?\[\]!-]+$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_RESERVED = {"self", "true", "false", "none", "True", "False", "None", "and", "or", "not", "if", "else", "is", "in"}
_WAIVE = ("check", "object", "reason", "owner", "expires", "max_rate")
_ACCEPTED = ("reason", "owner", "expires")
_EXEMPT = ("object", "workload", "port", "max_rate", *_ACCEPTED)
_WORKLOAD = re.compile(r"^[a-z0-9-]+/[a-z0-9.-]+$")


def variables(node: Node | None, given: Mapping[str, str], scope: Scope) -> None:
    """Fill the scope: the playbook's variables from top to bottom, the command line's on top of them."""
    scope.variables.update({k: v if k == NAMESPACES else yaml.typed(v) for k, v in given.items()})
    found = yaml.pairs(node, scope.problems, "`vars:`") if node and not yaml.empty(node) else {}
    for name, (key, value) in (found or {}).items():
        if not _VARIABLE.match(name) or name in _RESERVED:
            scope.problems.add(
                key.start_mark,
                f"{quoted(name)} is no name for a variable",
                "letters, digits and _; no word of Jinja2's",
            )
            continue
        resolved = scope.value(value)
        if name not in given:
            scope.variables[name] = None if resolved is BROKEN else resolved


def misspelt(given: Mapping[str, str], declared: set[str], text: str) -> list[tuple[str, str]]:
    """Variables of the command line that nothing uses and that look like one of the playbook's."""
    unused = [name for name in given if name not in declared and not re.search(rf"\b{re.escape(name)}\b", text)]
    return [(name, near) for name in unused if name != NAMESPACES and (near := closest(name, sorted(declared)))]


def targets(node: Node, scope: Scope) -> tuple[str, ...]:
    """Names and globs, or one label selector; a text may hold several names, between commas or spaces."""
    value = scope.value(node)
    if value is BROKEN:
        return ()
    found: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, str):
            scope.problems.add(node.start_mark, f"{quoted(item)} is no namespace", "put it in quotes")
        elif is_selector(item.strip()):
            found.append(item.strip())
        else:
            found += [name for name in re.split(r"[,\s]+", item) if name]
    selectors = [item for item in found if is_selector(item)]
    if selectors and len(found) > 1:
        scope.problems.add(node.start_mark, "targets are names and globs, or one label selector, not both")
    for name in found:
        if name not in selectors and not (_NAME.match(name) and len(name) <= 63):
            scope.problems.add(node.start_mark, f"{quoted(name)} is no name or glob of a namespace")
    return tuple(dict.fromkeys(found))


def serial(node: Node, scope: Scope) -> tuple[int | str, ...]:
    """Sizes of waves: whole numbers from 1, or shares from 1% to 100%; at least one namespace a wave."""
    places = list(node.value) if isinstance(node, SequenceNode) else [node]
    if not places:
        scope.problems.add(node.start_mark, "`serial:` names no wave", 'such as [1, "25%", "100%"]')
    sizes: list[int | str] = []
    for place in places:
        value = scope.value(place)
        for size in value if isinstance(value, list) else [value]:
            if _size(size, 1):
                sizes.append(size)
            elif size is not BROKEN:
                scope.problems.add(
                    place.start_mark, f"a wave cannot be {quoted(size)}", 'a whole number from 1, or "1%" to "100%"'
                )
    return tuple(sizes)


def max_failures(node: Node, scope: Scope) -> int | str:
    """How many namespaces may end rolled back or worse: a whole number from 0, or a share."""
    value = scope.value(node)
    if _size(value, 0):
        return value  # type: ignore[no-any-return]
    if value is not BROKEN:
        scope.problems.add(
            node.start_mark, f"max_failures cannot be {quoted(value)}", 'a whole number from 0, or "0%" to "100%"'
        )
    return 0


def _size(value: Any, least: int) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return value >= least
    share = _SHARE.match(value) if isinstance(value, str) else None
    return bool(share) and least <= int(share[1]) <= 100 if share else False


def order(node: Node, scope: Scope) -> Order:
    """Which namespaces go first."""
    value = scope.value(node)
    if isinstance(value, str) and value in list(Order):
        return Order(value)
    if value is not BROKEN:
        scope.problems.add(node.start_mark, f"order cannot be {quoted(value)}", hint(str(value), [*Order]))
    return Order.FEWEST_OFFENDERS


def flag(node: Node, scope: Scope, what: str) -> bool:
    """True or false."""
    value = scope.value(node)
    if not isinstance(value, bool) and value is not BROKEN:
        scope.problems.add(node.start_mark, f"{what} cannot be {quoted(value)}", "true or false")
    return value is True


def waivers(node: Node, scope: Scope) -> list[tuple[ScalarNode, Waiver]]:
    """`waive:`: this may be cut. Each with the node of its check, for a warning about an unknown one."""
    result = []
    for entry in [] if yaml.empty(node) else yaml.items(node, scope.problems, "`waive:`") or []:
        found = scope.keys(entry, "a waiver", _WAIVE)
        if found is None or not _all(
            entry, found, ("check", "object", "reason", "owner", "expires"), "a waiver", scope
        ):
            continue
        texts = {key: scope.text(found[key][1], f"waive.{key}") for key in ("check", "object", "reason", "owner")}
        until = _expiry(found["expires"][1], scope)
        rate = _rate(found["max_rate"][1], scope) if "max_rate" in found else None
        if all(texts.values()) and until:
            result.append((found["check"][0], Waiver(**texts, expires=until, max_rate=rate)))
    return result


def exemptions(node: Node, scope: Scope) -> tuple[Exemption, ...]:
    """`exempt:`: this must go on working: a policy that somebody made, or a port of a workload."""
    entries = [] if yaml.empty(node) else yaml.items(node, scope.problems, "`exempt:`") or []
    return tuple(found for entry in entries if (found := _exemption(entry, scope)) is not None)


def _exemption(entry: Node, scope: Scope) -> Exemption | None:
    found = scope.keys(entry, "an exemption", _EXEMPT)
    if found is None:
        return None
    own = ("workload", "port") if "workload" in found or "port" in found else ("object",)
    if not _all(entry, found, (*own, *_ACCEPTED), "an exemption", scope):
        return None
    if "object" in found and own != ("object",):
        scope.problems.add(entry.start_mark, "an exemption names an `object`, or a `workload` and its `port`, not both")
        return None
    texts = {key: scope.text(found[key][1], f"exempt.{key}") for key in (own[0], "reason", "owner")}
    until = _expiry(found["expires"][1], scope)
    port = _port(found["port"][1], scope) if "port" in found else 0
    rate = _rate(found["max_rate"][1], scope) if "max_rate" in found else None
    name = texts.get("workload", "")
    if name and not _WORKLOAD.match(name):
        scope.problems.add(found["workload"][1].start_mark, f"{quoted(name)} is no workload", "NAMESPACE/NAME")
        return None
    if not (all(texts.values()) and until) or port is None:
        return None
    return Exemption(**{"object": f"{name}:{port}", **texts}, expires=until, port=port, max_rate=rate)


def _port(node: Node, scope: Scope) -> int | None:
    value = scope.value(node)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    if value is not BROKEN:
        scope.problems.add(node.start_mark, f"a port cannot be {quoted(value)}", "a container's port, 1 to 65535")
    return None


def _all(entry: Node, found: Mapping[str, Any], needed: tuple[str, ...], what: str, scope: Scope) -> bool:
    missing = [key for key in needed if key not in found]
    if missing:
        scope.problems.add(entry.start_mark, f"{what} needs {', '.join(f'`{key}`' for key in missing)}")
    return not missing


def _expiry(node: Node, scope: Scope) -> datetime | None:
    """A date lasts until its end in UTC; a time needs its offset."""
    until = _moment(node, scope)
    if until and scope.now and until <= scope.now:
        scope.problems.add(
            node.start_mark, f"it expired, {until:%Y-%m-%d %H:%M %Z}", "a date to come, or take the entry out"
        )
    return until


def _moment(node: Node, scope: Scope) -> datetime | None:
    value = scope.value(node)
    if value is BROKEN:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment and isinstance(value, str) and len(value) == len("2026-03-31"):
        return datetime.combine(moment.date(), time(23, 59, 59), UTC)
    if moment and moment.tzinfo:
        return moment
    scope.problems.add(
        node.start_mark, f"expires cannot be {quoted(value)}", "a date such as 2026-03-31, or 2026-03-31T18:00:00+00:00"
    )
    return None


def _rate(node: Node, scope: Scope) -> float | None:
    """Events per second; `14/d` is fourteen a day."""
    value = scope.value(node)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    # A number in quotes is a text by mistake; with its unit it can only be a text.
    rate = per_second(value) if isinstance(value, str) and "/" in value else None
    if rate is not None:
        return rate
    if value is not BROKEN:
        scope.problems.add(
            node.start_mark, f"max_rate cannot be {quoted(value)}", "a number per second, or such as 5/m, 3/h or 14/d"
        )
    return None
