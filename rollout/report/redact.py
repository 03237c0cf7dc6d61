"""Credentials never leave the process: not in lines, not in JSON, not in diffs."""

from __future__ import annotations

import re
from typing import Any

CUT = "***"
#: A name that holds a secret. The bounds keep matching linear on long texts without spaces.
_NAMED = r"[\w.-]{0,40}(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)s?"
_FIELD = r"(?:[\w.-]{0,40}(?:password|passwd|api[_-]?key|access[_-]?key)|[\w.-]{1,40}(?:secret|token)s?)"
_VALUE = r"(?:\"[^\"]*\"|'[^']*'|[^\s,;\"'}]+)"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ (and a bare token@) in a URL; the greedy class takes an unescaped @ within the password along.
    (re.compile(r"(?P<keep>\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://)[^\s/?#]+@"), rf"\g<keep>{CUT}@"),
    (re.compile(r"(?P<keep>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE), rf"\g<keep>{CUT}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), CUT),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        f"-----PRIVATE KEY {CUT}-----",
    ),
    (re.compile(rf"(?P<keep>\b{_NAMED}\s*=\s*)(?:\"[^\"]*\"|'[^']*'|[^\s&,;\"']+)", re.IGNORECASE), rf"\g<keep>{CUT}"),
    # Prose with a colon must stay readable ("the token: expired"): a quoted key, or a name that no prose has.
    (
        re.compile(rf"(?P<keep>(?:[\"']{_NAMED}[\"']|\b{_FIELD})\s{{0,4}}:\s{{1,4}}){_VALUE}", re.IGNORECASE),
        rf"\g<keep>{CUT}",
    ),
)
_KEY = re.compile(_NAMED, re.IGNORECASE)


def redact(text: str) -> str:
    """The text without passwords in URLs, bearer and basic tokens, JWTs, private keys and what is named a secret."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_all(value: Any) -> Any:
    """Every text within plain values."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {
                key: CUT if isinstance(item, str) and item and _KEY.fullmatch(str(key)) else redact_all(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [redact_all(item) for item in value]
        case _:
            return value
