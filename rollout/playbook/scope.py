"""A node's value once its expressions are filled in: the one door from YAML to plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from yaml.nodes import Node, ScalarNode, SequenceNode

from rollout.playbook import yaml
from rollout.playbook.errors import Mark, Problems
from rollout.playbook.template import Unresolved, condition, resolve
from rollout.playbook.words import unknown_key


class _Broken:
    """Stands for a value whose mistake is noted already."""


BROKEN: Final = _Broken()


class Scope:
    """The variables that expressions may name, and where mistakes go."""

    def __init__(self, problems: Problems, variables: Mapping[str, Any], now: datetime | None = None) -> None:
        """Begin with these variables; `now` None asks of nothing whether it has expired."""
        self.now = now
        self.problems = problems
        self.variables = dict(variables)

    def value(self, node: Node) -> Any:
        """The node as plain values, or BROKEN after noting why not."""
        before = len(self.problems)
        value = self._value(node)
        return value if len(self.problems) == before else BROKEN

    def _value(self, node: Node) -> Any:
        if isinstance(node, ScalarNode):
            value = yaml.scalar(node, self.problems)
            return self._tried(node.start_mark, resolve, value) if isinstance(value, str) else value
        if isinstance(node, SequenceNode):
            return [self._value(item) for item in yaml.items(node, self.problems, "this") or ()]
        found = yaml.pairs(node, self.problems, "this") or {}
        return {key: self._value(value) for key, (_, value) in found.items()}

    def _tried(self, mark: Mark, work: Callable[[str, Mapping[str, Any]], Any], text: str) -> Any:
        try:
            return work(text, self.variables)
        except Unresolved as error:
            self.problems.add(mark, error.message, error.hint)
            return BROKEN

    def text(self, node: Node, what: str) -> str:
        """A text; '' after noting that it is none."""
        value = self.value(node)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if value is not BROKEN:
            self.problems.add(node.start_mark, f"{what} is a text", "put it in quotes" if value is not None else "")
        return ""

    def when(self, node: Node) -> bool:
        """A condition, or all of a list of them; True after a mistake."""
        if isinstance(node, SequenceNode):
            results = [self.when(item) for item in node.value]  # each of them, so that no mistake hides another
            return all(results)
        value = yaml.scalar(node, self.problems) if isinstance(node, ScalarNode) else None
        if isinstance(value, bool):
            return value
        if not isinstance(value, str):
            self.problems.add(node.start_mark, "`when:` is an expression over variables, or a list of them")
            return True
        result = self._tried(node.start_mark, condition, value)
        return True if result is BROKEN else bool(result)

    def keys(self, node: Node, what: str, known: tuple[str, ...]) -> dict[str, tuple[ScalarNode, Node]] | None:
        """A mapping's known keys; None where it is no mapping, unknown keys are noted and left out."""
        found = yaml.pairs(node, self.problems, what)
        if found is None:
            return None
        for word in [word for word in found if word not in known]:
            key, _ = found.pop(word)
            self.problems.add(key.start_mark, f"{what} has no key `{word[:60]}`", unknown_key(word, known))
        return found
