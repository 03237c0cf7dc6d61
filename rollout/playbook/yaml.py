"""YAML as people read it: 1.2's core types, no key twice, and every node knows its place.

PyYAML's own loaders follow YAML 1.1, where `on`, `no`, `12:30` and `0777` are not what they look like, and where the
last of two equal keys wins in silence (libraries.md 1.7).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from rollout.playbook.errors import Problems

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_STR = "tag:yaml.org,2002:str"
_CORE = {
    _NULL: re.compile(r"^(?:~|null|Null|NULL|)$"),
    _BOOL: re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    # Eighteen digits fit 64 bits; a leading zero stays text, since 0777 is three things in three versions of YAML.
    _INT: re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,17})$"),
    _FLOAT: re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,2})?$"),
}
_COLLECTIONS = {"tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}


class _Loader(yaml.SafeLoader):
    """Resolves the core types and refuses aliases: a small file has no use for them, and they can be made endless."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # PyYAML keeps it on the class

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None,
                None,
                "anchors and aliases are not supported: write the value out, or use `vars:`",
                event.start_mark,
            )
        return super().compose_node(parent, index)


for _tag, _pattern in _CORE.items():
    _Loader.add_implicit_resolver(_tag, _pattern, None)


def parse(text: str, problems: Problems) -> Node | None:
    """The document's root, or None after a mistake (or for an empty file)."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.context, error.problem) if part) or "not YAML"
        problems.at(mark.line if mark else 0, mark.column if mark else 0, _plain(words))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        column = len(before) - (before.rfind("\n") + 1)
        problems.at(before.count("\n"), column, "a character that YAML does not allow")
    except RecursionError:
        problems.at(0, 0, "nested too deeply")
    return None


def _plain(words: str) -> str:
    if "expected a single document" in words:
        return "one playbook is one YAML document: remove what follows `---`"
    if "\\t" in words:
        return "a tab where YAML wants spaces"
    return words


def typed(text: str) -> Any:
    """A plain scalar's value: null, a boolean, a number, or the text itself."""
    for tag, pattern in _CORE.items():
        if pattern.match(text):
            return _scalar(tag, text)
    return text


def _scalar(tag: str, text: str) -> Any:
    match tag:
        case "tag:yaml.org,2002:null":
            return None
        case "tag:yaml.org,2002:bool":
            return text.lower() == "true"
        case "tag:yaml.org,2002:int":
            return int(text)
        case "tag:yaml.org,2002:float":
            return float(text)
        case _:
            return text


def scalar(node: ScalarNode, problems: Problems) -> Any:
    """The value of a scalar; a tag of its own (`!!set`, `!vault`) is a mistake, and its text is taken."""
    tag = str(node.tag)
    if tag not in _CORE and tag != _STR:
        problems.add(node.start_mark, f"the tag {tag.removeprefix('tag:yaml.org,2002:')} is not supported")
        return node.value
    pattern = _CORE.get(tag)
    if pattern and not pattern.match(node.value):
        problems.add(node.start_mark, f"`{node.value[:40]}` is no {tag.rpartition(':')[2]}")
        return node.value
    return _scalar(tag, node.value)


def empty(node: Node) -> bool:
    """Nothing stands there (`permissive:`)."""
    return isinstance(node, ScalarNode) and node.tag == _NULL


def items(node: Node, problems: Problems, what: str) -> list[Node] | None:
    """The nodes of a list, or None after noting that it is none."""
    if isinstance(node, SequenceNode) and node.tag in _COLLECTIONS:
        return list(node.value)
    problems.add(node.start_mark, f"{what} is a list")
    return None


def pairs(node: Node, problems: Problems, what: str) -> dict[str, tuple[ScalarNode, Node]] | None:
    """Key to (key's node, value's node); None after noting that it is no mapping. A key given twice is a mistake."""
    if not isinstance(node, MappingNode) or node.tag not in _COLLECTIONS:
        problems.add(node.start_mark, f"{what} is a mapping of keys to values")
        return None
    found: dict[str, tuple[ScalarNode, Node]] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            problems.add(key.start_mark, "a key is a plain word", "values in {{ }} need quotes")
        elif key.value in found:
            first = found[key.value][0].start_mark.line + 1
            problems.add(key.start_mark, f"`{key.value}` stands here twice, first in line {first}")
        else:
            found[key.value] = (key, value)
    return found
