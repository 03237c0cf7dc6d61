"""A series' labels: immutable by convention, and the two derived values that every step needs kept at hand."""

from __future__ import annotations

from collections.abc import Hashable

NAME = "__name__"


class Labels(dict[str, str]):
    """Label names and values, `__name__` among them; an empty value is the same as no label, and never stored.

    Never changed after it is made: `key` and `nameless` are remembered. (`without` and `keep` make new ones.)
    """

    __slots__ = ("_key", "_nameless")

    @property
    def key(self) -> Hashable:
        """Equal for equal labels."""
        try:
            return self._key
        except AttributeError:
            self._key: frozenset[tuple[str, str]] = frozenset(self.items())
            return self._key

    @property
    def nameless(self) -> Labels:
        """The same without the metric's name: what most functions and operators return."""
        if NAME not in self:
            return self
        try:
            return self._nameless
        except AttributeError:
            self._nameless: Labels = Labels((name, value) for name, value in self.items() if name != NAME)
            return self._nameless

    def without(self, names: frozenset[str]) -> Labels:
        """All but the named ones."""
        return Labels((name, value) for name, value in self.items() if name not in names)

    def keep(self, names: frozenset[str]) -> Labels:
        """The named ones only."""
        return Labels((name, value) for name, value in self.items() if name in names)

    def put(self, name: str, value: str) -> Labels:
        """With one label set, or taken away where `value` is empty."""
        changed = dict(self)
        changed.pop(name, None)
        if value:
            changed[name] = value
        return Labels(changed)

    def __str__(self) -> str:
        """As Prometheus writes labels in its errors."""
        return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(self.items())) + "}"


EMPTY = Labels()
