"""Syntax that promql-parser takes and Prometheus 2.42 does not, and that leaves no trace in the tree."""

from __future__ import annotations

import re

_STRING_OR_COMMENT = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)|#[^\n]*""", re.DOTALL)
_BRACES = re.compile(r"\{([^}]*)\}")
_QUOTED_NAME = re.compile(r"(?:^|,)\s*\"\"")
_BARE_RANGE = re.compile(r"\[\s*[\d.]+\s*[:\]]|\[[^]]*:\s*[\d.]+\s*\]")
_BARE_OFFSET = re.compile(r"\boffset\s+-?\s*[\d.]+(?![\d.smhdwy])", re.IGNORECASE)


def too_new(text: str) -> str | None:
    """What 2.42 says about the query's newer syntax, or None where there is none."""
    bare = _STRING_OR_COMMENT.sub(lambda found: '""' if found[1] else " ", text)
    if any(_QUOTED_NAME.search(braces[1]) for braces in _BRACES.finditer(bare)):
        return "unexpected string in label matching, expected identifier"
    if _BARE_RANGE.search(bare):
        return "missing unit character in duration"
    if _BARE_OFFSET.search(bare):
        return "unexpected number in offset, expected duration"
    return None
