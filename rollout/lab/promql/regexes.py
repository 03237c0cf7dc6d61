"""RE2's regular expressions in Python's: nearly the same language, anchored at both ends as Prometheus does."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

from rollout.lab.promql.errors import BadData

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_FOREIGN = re.compile(r"\\z|\[:(\^?\w+):\]|\\.", re.DOTALL)
_FLAGS = re.compile(r"\(\?([imsU]+)\)")


@lru_cache(maxsize=1024)
def anchored(pattern: str) -> re.Pattern[str]:
    """A compiled pattern, to be used with `fullmatch` only.

    Raises:
        BadData: not a regular expression, or (rarely: `\\pL`, `[[:^alpha:]]`) one that only RE2 understands.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # "[[" may mean a set one day; in RE2 it does not
            return re.compile(_translated(pattern), re.ASCII)
    except re.error as error:
        raise BadData(f"error parsing regexp: {error}: `{pattern}`") from None


def _translated(pattern: str) -> str:
    flags = _FLAGS.match(pattern)
    body = _FOREIGN.sub(_piece, pattern[flags.end() :] if flags else pattern)
    names = flags[1].replace("U", "") if flags else ""  # which of several matches is taken does not matter here
    return f"(?{names}:{body})"


def _piece(found: re.Match[str]) -> str:
    text = found[0]
    if text == r"\z":
        return r"\Z"
    if found[1] is None:
        return text
    if found[1] not in _CLASSES:
        raise re.error(f"unknown character class {text}")
    return _CLASSES[found[1]]
