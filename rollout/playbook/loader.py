"""From a file to a Playbook, or to every mistake in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode

from rollout.errors import UsageError
from rollout.playbook import schema, tasks, yaml
from rollout.playbook.errors import Problems
from rollout.playbook.play import Order, Playbook
from rollout.playbook.scope import Scope
from rollout.playbook.words import hint

DEFAULT = "strict-mtls.yaml"
#: The text goes into every run's record, which is a ConfigMap and holds 1 MiB at most.
MAX_BYTES = 65_536


class Source(NamedTuple):
    """A file and what stands in it."""

    text: str
    path: Path


_Keys = Mapping[str, tuple[ScalarNode, Node]]


def shipped() -> Path:
    """The default playbook: in the installed package, or in the repository.

    Raises:
        UsageError: it is in neither place.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "shipped", here.parents[1] / "playbooks"):
        if (folder / DEFAULT).is_file():
            return folder / DEFAULT
    raise UsageError(f"the default playbook {DEFAULT} is missing", where=str(here), next="install rollout again")


def load(
    path: Path | None,
    *,
    keywords: Mapping[str, type[msgspec.Struct]],
    checks: Mapping[str, str],
    variables: Mapping[str, str],
    order: tuple[str, ...] = ("verify", "permissive", "confirm_mtls", "check", "strict", "watch"),
    now: datetime | None = None,
) -> Playbook:
    """A playbook with nothing left to resolve.

    Args:
        path: the file; None is the default that comes with the tool.
        keywords: keyword to the stage's arguments.
        checks: a check's id to the keyword that may name it.
        variables: the command line's, as typed; they win over `vars:`, and `namespaces` stays text.
        order: the machine's order of keywords.
        now: waivers and exemptions that have expired by then are mistakes; None leaves them to the run, which blocks.

    Raises:
        PlaybookErrors: every mistake, with its line.
        UsageError: the file cannot be read.
    """
    source = path or shipped()
    text = _text(source)
    problems = Problems(str(source), text)
    root = yaml.parse(text, problems)
    problems.check()
    play = _play(root, problems)
    problems.check()
    catalog = tasks.Catalog(keywords=keywords, checks=checks, order=order)
    scope = Scope(problems, {}, now)
    keys = scope.keys(play, "a play", schema.PLAY_KEYS) if play else None
    book = _book(keys or {}, scope, catalog, variables, Source(text, source))
    problems.check()
    return book


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read the playbook: {error.strerror or error}", where=str(path), next="check the path"
        ) from error
    if len(raw) > MAX_BYTES:
        raise UsageError(f"the playbook has {len(raw)} bytes", limit=f"{MAX_BYTES} bytes", where=str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError("the playbook is not UTF-8", where=f"{path}:{line}", next="save it as UTF-8") from error


def _play(root: Node | None, problems: Problems) -> Node | None:
    """The one play: the only entry of the list, or the mapping itself."""
    if root is None or yaml.empty(root):
        problems.at(0, 0, "an empty playbook", "a playbook is a list with one play: `- name: …`")
        return None
    if isinstance(root, MappingNode):
        return root
    plays = yaml.items(root, problems, "a playbook")
    if plays is not None and len(plays) != 1:
        mark = plays[1].start_mark if plays else root.start_mark
        problems.add(mark, f"a playbook has one play, this one has {len(plays)}", "one play a file")
    return plays[0] if plays else None


def _book(keys: _Keys, scope: Scope, catalog: tasks.Catalog, given: Mapping[str, str], source: Source) -> Playbook:
    text, path = source

    def node(key: str) -> Node | None:
        return keys[key][1] if key in keys else None

    schema.variables(node("vars"), given, scope)
    _misspelt(node("vars"), given, scope, text)
    wanted, waves, failures, first, guard = (
        node(k) for k in ("targets", "serial", "max_failures", "order", "require_guard")
    )
    waived, exempt, todo, title = (node(k) for k in ("waive", "exempt", "tasks", "name"))
    waivers = schema.waivers(waived, scope) if waived else []
    if todo is None and keys:
        scope.problems.at(0, 0, "a play needs `tasks:`", "without `strict:` among them nothing is enforced")
    return Playbook(
        name=path.name,
        path=path,
        text=text,
        sha=hashlib.sha256(text.encode()).hexdigest(),
        title=scope.text(title, "name") if title else "",
        targets=schema.targets(wanted, scope) if wanted else _named(given),
        serial=schema.serial(waves, scope) if waves else ("100%",),
        max_failures=schema.max_failures(failures, scope) if failures else 0,
        order=schema.order(first, scope) if first else Order.FEWEST_OFFENDERS,
        variables=scope.variables,
        tasks=tasks.read(todo, scope, catalog) if todo else (),
        waivers=tuple(waiver for _, waiver in waivers),
        exemptions=schema.exemptions(exempt, scope) if exempt else (),
        require_guard=schema.flag(guard, scope, "require_guard") if guard else False,
        warnings=tuple(
            f"{path.name}:{key.start_mark.line + 1}: there is no check `{waiver.check}` to waive"
            + (f"; {tip}" if (tip := hint(waiver.check, catalog.checks)).startswith("did") else "")
            for key, waiver in waivers
            if waiver.check not in catalog.checks
        ),
    )


def _named(given: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(given.get(schema.NAMESPACES, "").replace(",", " ").split())


def _misspelt(node: Node | None, given: Mapping[str, str], scope: Scope, text: str) -> None:
    if not isinstance(node, MappingNode):
        return
    declared = {key.value for key, _ in node.value if isinstance(key, ScalarNode)}
    for name, near in schema.misspelt(given, declared, text):
        said = f"nothing uses the variable `{name}` of the command line"
        scope.problems.add(node.start_mark, said, f"did you mean `{near}`?")
