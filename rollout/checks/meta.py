"""What a check says of itself. Its words stand in its file's docstring, once: reports and `rollout explain` print them.

First line: a sentence that is true when the check passes. Then a paragraph `Why:` and one `Fix:`.
"""

from __future__ import annotations

import inspect

import msgspec

from rollout.model.finding import Severity
from rollout.record.state import State


class Meta(msgspec.Struct, frozen=True):
    """`state` is the one whose exit the check guards, `severity` that of findings that name none."""

    id: str
    state: State
    doc: str
    severity: Severity = Severity.BLOCKING

    @property
    def title(self) -> str:
        """The sentence that is true when it passes, without a full stop."""
        return self.doc.lstrip().partition("\n")[0].rstrip(".")

    @property
    def why(self) -> str:
        """What goes wrong otherwise."""
        return self._paragraph("Why:")

    @property
    def fix(self) -> str:
        """What helps in general; each finding names its own command."""
        return self._paragraph("Fix:")

    def _paragraph(self, word: str) -> str:
        paragraphs = inspect.cleandoc(self.doc).split("\n\n")
        found = next((text for text in paragraphs if text.startswith(word)), "")
        return " ".join(found.removeprefix(word).split())
