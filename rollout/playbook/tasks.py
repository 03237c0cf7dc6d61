"""Tasks: each fills one state, in the machine's order; what nobody names runs all the same, but never `strict`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode

from rollout.playbook import arguments, yaml
from rollout.playbook.errors import Mark
from rollout.playbook.scope import BROKEN, Scope
from rollout.playbook.words import hint, quoted, unknown_key
from rollout.record.spec import Task

APPROVE = "approve"
STRICT = "strict"
#: Keywords that name checks of their own state.
LISTS = ("verify", "check")
ALL = "all"
_IMPLICIT = {
    "verify": "Everything that the run needs is there",
    "permissive": "Accept both while testing",
    "confirm_mtls": "All traffic is already mutual TLS",
    "check": "Nothing else would break",
    "watch": "Watch error rates",
}


class Approve(msgspec.Struct, frozen=True):
    """Holds the run until somebody approves."""

    reason: str = ""


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """What the language consists of: keyword to arguments, check to the keyword that may name it, and the order."""

    keywords: Mapping[str, type[msgspec.Struct]]
    checks: Mapping[str, str]
    order: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Every keyword."""
        return (*self.order, APPROVE)

    def struct(self, keyword: str) -> type[msgspec.Struct]:
        """The keyword's arguments."""
        return self.keywords.get(keyword, Approve if keyword == APPROVE else msgspec.defstruct("Nothing", []))

    def own(self, keyword: str) -> tuple[str, ...]:
        """The checks that this keyword may name."""
        return tuple(check for check, owner in self.checks.items() if owner == keyword)


class _Written(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it stands in the file.

    `checks` are the ids that it names, each with its place (ALL as the only one); `broken` says that an argument's
    mistake is noted already.
    """

    name: str
    keyword: str
    mark: Any
    args: dict[str, Any]
    active: bool
    checks: tuple[tuple[str, Any], ...] = ()
    broken: bool = False


def read(node: Node, scope: Scope, catalog: Catalog) -> tuple[Task, ...]:
    """The tasks in the machine's order, implicit ones included; mistakes are noted."""
    nodes = [] if yaml.empty(node) else yaml.items(node, scope.problems, "`tasks:`") or []
    written = [task for entry in nodes if (task := _task(entry, scope, catalog))]
    _ordered(written, scope, catalog)
    active = [task for task in written if task.active]
    _once(active, scope)
    return _Assembly(active, scope, catalog, node.start_mark).tasks()


def _task(node: Node, scope: Scope, catalog: Catalog) -> _Written | None:
    found = yaml.pairs(node, scope.problems, "a task")
    if found is None:
        return None
    words = [key for key in found if key in catalog.words]
    strange = [key for key in found if key not in (*catalog.words, "name", "when")]
    for word in strange:
        known = (*catalog.words, "name", "when")
        scope.problems.add(found[word][0].start_mark, f"a task has no key {quoted(word)}", unknown_key(word, known))
    active = scope.when(found["when"][1]) if "when" in found else True
    name = scope.text(found["name"][1], "name") if "name" in found else ""
    if not words and not strange:
        scope.problems.add(node.start_mark, "a task needs one keyword", f"one of {', '.join(catalog.words)}")
    for extra in words[1:]:
        scope.problems.add(
            found[extra][0].start_mark, f"a task has one keyword, this one has `{words[0]}` and `{extra}`"
        )
    if not words:
        return None
    key, value = found[words[0]]
    return _keyword(words[0], key, value, scope, catalog, name=name, active=active)


def _keyword(
    keyword: str, key: ScalarNode, value: Node, scope: Scope, catalog: Catalog, *, name: str, active: bool
) -> _Written:
    struct, before = catalog.struct(keyword), len(scope.problems)
    checks: tuple[tuple[str, Any], ...] = ()
    args: dict[str, Any] = {}
    if keyword not in LISTS:
        args = arguments.read(value, struct, scope, keyword)
    elif isinstance(value, MappingNode):
        args = arguments.read(value, struct, scope, keyword, skip=("checks",))
        named = next((v for k, v in value.value if isinstance(k, ScalarNode) and k.value == "checks"), None)
        checks = _checks(named, keyword, scope, catalog) if named else ()
    else:
        checks = _checks(value, keyword, scope, catalog)
    return _Written(
        name=name or _IMPLICIT.get(keyword, keyword), keyword=keyword, mark=key.start_mark, args=args, active=active,
        checks=checks, broken=len(scope.problems) > before,
    )  # fmt: skip


def _checks(node: Node, keyword: str, scope: Scope, catalog: Catalog) -> tuple[tuple[str, Any], ...]:
    """The ids that a list names; a single one needs no list."""
    value = scope.value(node)
    if value is BROKEN:
        return ()
    names = value if isinstance(value, list) else [value]
    places = node.value if isinstance(node.value, list) and len(node.value) == len(names) else [node] * len(names)
    if not names or value is None:
        scope.problems.add(
            node.start_mark, f"`{keyword}:` names no check", f"`{keyword}: all`, or {', '.join(catalog.own(keyword))}"
        )
        return ()
    found = []
    for name, place in zip(names, places, strict=True):
        if name == ALL and len(names) == 1:
            found.append((ALL, place.start_mark))
        elif _may_name(name, keyword, place.start_mark, scope, catalog):
            found.append((name, place.start_mark))
    return tuple(found)


def _may_name(name: Any, keyword: str, mark: Mark, scope: Scope, catalog: Catalog) -> bool:
    owner = catalog.checks.get(name) if isinstance(name, str) else None
    if owner == keyword:
        return True
    if owner is None:
        own = catalog.own(keyword)
        scope.problems.add(mark, f"there is no check {quoted(name)}", hint(str(name), [*own, ALL]))
    else:
        where = f"write it under `{owner}:`" if owner in LISTS else f"it runs with `{owner}:` by itself"
        scope.problems.add(mark, f"the check `{name}` belongs to `{owner}`, not to `{keyword}`", where)
    return False


def _ordered(written: Iterable[_Written], scope: Scope, catalog: Catalog) -> None:
    last: _Written | None = None
    for task in written:
        if task.keyword == APPROVE:
            continue
        if last and catalog.order.index(task.keyword) < catalog.order.index(last.keyword):
            scope.problems.add(
                task.mark,
                f"`{task.keyword}` cannot come after `{last.keyword}` (line {last.mark.line + 1})",
                f"the order is {', '.join(catalog.order)}; `{APPROVE}` between any two",
            )
        else:
            last = task


def _once(active: Iterable[_Written], scope: Scope) -> None:
    """A keyword fills its state once, and a check is named once; only the lists of checks repeat."""
    seen: dict[str, int] = {}
    for task in active:
        keys = [(f"{task.keyword}: {name}", mark) for name, mark in task.checks]
        if task.keyword == APPROVE:
            keys = [(f"approve: {task.name}", task.mark)]  # an approval is given to a name
        elif task.keyword not in LISTS:
            keys = [(task.keyword, task.mark)]
        for key, mark in keys:
            if key in seen:
                scope.problems.add(
                    mark,
                    f"`{key}` stands in line {seen[key]} already",
                    "give each its own `name:`" if task.keyword == APPROVE else "name it once",
                )
            else:
                seen[key] = mark.line + 1


class _Assembly:
    """Puts the written tasks and the implicit ones into the machine's order."""

    def __init__(self, active: list[_Written], scope: Scope, catalog: Catalog, mark: Mark) -> None:
        """Bind each approval to the task that it stands before (or, at the end, after)."""
        self.active = active
        self.scope = scope
        self.catalog = catalog
        self.mark = mark
        self.flips = any(task.keyword == STRICT for task in active)
        self.named = {name for task in active for name, _ in task.checks}

    def tasks(self) -> tuple[Task, ...]:
        """Everything, in order; without `strict` the run ends as with `--until checking`."""
        before, trailing = self._approvals()
        order = self.catalog.order
        stop = order.index(STRICT) if STRICT in order else len(order)
        result: list[Task] = []
        for keyword in order if self.flips else order[:stop]:
            mine = [task for task in self.active if task.keyword == keyword]
            for task in mine:
                result += [self._made(approval) for approval in before.get(id(task), [])]
                result.append(self._made(task))
                result += [self._made(approval) for approval in trailing.get(id(task), [])]
            result += self._implicit(keyword, written=bool(mine))
        self._between(result)
        return tuple(result)

    def _approvals(self) -> tuple[dict[int, list[_Written]], dict[int, list[_Written]]]:
        before: dict[int, list[_Written]] = {}
        waiting: list[_Written] = []
        last: _Written | None = None
        for task in self.active:
            if task.keyword == APPROVE:
                waiting.append(task)
            else:
                before[id(task)], waiting, last = waiting, [], task
        if waiting and last is None:
            self.scope.problems.add(waiting[0].mark, "`approve` stands between two tasks, and there are none")
        return before, {id(last): waiting} if last else {}

    def _between(self, tasks: list[Task]) -> None:
        for task, words in ((tasks[0], "before the first"), (tasks[-1], "after the last")) if tasks else ():
            if task.keyword == APPROVE:
                at = next(w for w in self.active if w.keyword == APPROVE and w.mark.line + 1 == task.line)
                self.scope.problems.add(at.mark, f"`approve` stands between two tasks, not {words} one")

    def _made(self, task: _Written) -> Task:
        args = dict(task.args)
        if task.keyword in LISTS:
            args["checks"] = self._listed(task)
        full = args if task.broken else self._complete(task.keyword, args, task.mark)
        return Task(name=task.name, keyword=task.keyword, args=full, line=task.mark.line + 1)

    def _listed(self, task: _Written) -> list[str]:
        """`all` are those that no other task names."""
        names = [name for name, _ in task.checks]
        return self._rest(task.keyword) if names == [ALL] else names

    def _rest(self, keyword: str) -> list[str]:
        return [check for check in self.catalog.own(keyword) if check not in self.named]

    def _implicit(self, keyword: str, *, written: bool) -> list[Task]:
        if keyword == STRICT or keyword not in self.catalog.keywords:
            return []
        args: dict[str, Any] = {}
        if keyword in LISTS:
            taken = any(t.keyword == keyword and t.checks and t.checks[0][0] == ALL for t in self.active)
            rest = [] if taken else self._rest(keyword)
            if written and not rest:
                return []
            args["checks"] = rest
        elif written:
            return []
        return [
            Task(name=_IMPLICIT.get(keyword, keyword), keyword=keyword, args=self._complete(keyword, args, self.mark))
        ]

    def _complete(self, keyword: str, args: dict[str, Any], mark: Mark) -> dict[str, Any]:
        try:
            return {**arguments.complete(args, self.catalog.struct(keyword)), **args}
        except msgspec.ValidationError as error:
            self.scope.problems.add(mark, f"`{keyword}`: {arguments.worded(error)}")
            return args
