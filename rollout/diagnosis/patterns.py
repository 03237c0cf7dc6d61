"""Layer 4: names what logs say of mutual TLS, line by line, in memory that does not grow with the log."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

import msgspec

from rollout.diagnosis.asking import grouped
from rollout.diagnosis.known import PATTERNS, Pattern
from rollout.diagnosis.telling import NOT_ASKED
from rollout.model.diagnosis import Layer, LayerResult, PatternCount, Recognition
from rollout.model.finding import Finding, Severity, Status
from rollout.model.kubernetes import Pod, Ref

#: Characters of a line that are looked at; Envoy's own are shorter.
LONGEST = 16_384
#: Different details that are kept for a pattern, and characters of a detail and an example.
DETAILS = 20
SHOWN = 400

_BLOCKING = frozenset(pattern.id for pattern in PATTERNS if pattern.blocking)
_CUT = "***"
_CUT_SHORT = "; the newest came too fast to be read"
_NONE = frozenset({"-"})
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), _CUT),
    (re.compile(r"(?P<path>[\"\s](?:https?://|/)[^\s\"?]*)\?[^\s\"]*"), rf"\g<path>?{_CUT}"),
    (re.compile(r"(?P<keep>://)[^\s/@\"]+@"), rf"\g<keep>{_CUT}@"),
    (re.compile(r"(?P<keep>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE), rf"\g<keep>{_CUT}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+"), _CUT),
    (
        re.compile(
            r"(?P<keep>[\"']?[\w.-]{0,40}(?:password|passwd|secret|token|api[_-]?key|cookie|authorization)[\"']?\s*[=:]\s*)"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"'}]+)",
            re.IGNORECASE,
        ),
        rf"\g<keep>{_CUT}",
    ),
)
#: `"GET / HTTP/1.1" 503 UC details termination "failure"`, as in Istio's default text format.
_TEXT = re.compile(r'"[^"]*" \d{1,3} (?P<flags>-|[A-Z]{2,5}(?:,[A-Z]{2,5})*) \S')

#: An access log line of a request that went well: most lines are such, and nothing else in them counts.
_HEALTHY = re.compile(r'" [123]\d\d - ')


class _Stream(Protocol):
    def readline(self, limit: int = -1, /) -> bytes: ...


class _Json(msgspec.Struct):
    """Istio's JSON access log; other keys are not read."""

    response_flags: str = ""
    downstream_remote_address: str | None = ""


def lines(stream: _Stream) -> Iterator[str]:
    """A stream's lines; of one that is longer than `LONGEST` only the beginning."""
    whole = True
    while chunk := stream.readline(LONGEST):
        if whole:
            yield chunk.decode(errors="replace").rstrip("\r\n")
        whole = chunk.endswith(b"\n")


class Recogniser:
    """Counts the known patterns of a log that comes line by line; it stays as small as it is."""

    def __init__(self) -> None:
        """No line yet."""
        self._found: dict[str, _Counted] = {}
        self._lines = 0

    def add(self, raw: str) -> PatternCount | None:
        """Count a line, once, for the pattern that says most; the pattern where this is the first line of it."""
        self._lines += 1
        line = raw[:LONGEST]
        pattern = match(line) if line else None
        if pattern is None:
            return None
        fresh = pattern.id not in self._found
        counted = self._found.setdefault(pattern.id, _Counted(pattern))
        counted.add(line)
        return counted.result() if fresh else None

    def result(self) -> Recognition:
        """What was counted so far."""
        order = {pattern.id: place for place, pattern in enumerate(PATTERNS)}
        keys = sorted(self._found, key=order.__getitem__)
        return Recognition(self._lines, tuple(self._found[key].result() for key in keys))


def recognise(text: Iterable[str]) -> Recognition:
    """Count the known patterns of a whole log."""
    recogniser = Recogniser()
    for line in text:
        recogniser.add(line)
    return recogniser.result()


def match(line: str) -> Pattern | None:
    """The first pattern that a line shows."""
    if _HEALTHY.search(line):
        return None
    plain = line.replace("_", " ")
    low = plain.lower()
    for pattern in PATTERNS:
        if any(hint in low for hint in pattern.says.hints) and _shows(pattern, line, plain):
            return pattern
    return None


def _shows(pattern: Pattern, line: str, plain: str) -> bool:
    if pattern.says.regex.search(plain):
        return not (pattern.leftover and _flags(line) == _NONE)
    return bool(pattern.flags) and any(wanted <= _flags(line) for wanted in pattern.flags)


def _flags(line: str) -> frozenset[str]:
    """The response flags of an access log line; no line of one: none at all, not even `-`."""
    if (text := _TEXT.search(line)) is not None:
        return frozenset(text["flags"].split(","))
    if (parsed := _json(line)) is not None:
        return frozenset(parsed.response_flags.split(","))
    return frozenset()


def _json(line: str) -> _Json | None:
    start = line.find("{")
    if start < 0 or '"response_flags"' not in line:
        return None
    try:
        return msgspec.json.decode(line[start:].rstrip(), type=_Json)
    except msgspec.MsgspecError:
        return None


def detail(pattern: Pattern, line: str) -> str:
    """What varies in a line of this pattern, '' for nothing."""
    if pattern.id == "filter-chain-not-found" and (parsed := _json(line)) is not None:
        return (parsed.downstream_remote_address or "").rpartition(":")[0]
    if pattern.detail is None:
        return ""
    found = pattern.detail.search(line) or pattern.detail.search(line.replace("_", " "))
    if found is None:
        return ""
    named = {name: value for name, value in found.groupdict().items() if value}
    if len(named) == 1:
        return next(iter(named.values())).strip("[]") if pattern.id == "filter-chain-not-found" else _only(named)
    return ", ".join(f"{name} {value}" for name, value in named.items())


def _only(named: Mapping[str, str]) -> str:
    name, value = next(iter(named.items()))
    return f"seen {value}" if name == "seen" else value


def clean(line: str) -> str:
    """The line without queries, tokens, passwords and keys, cut to what a screen shows."""
    for secret, instead in _SECRETS:
        line = secret.sub(instead, line)
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


class _Counted:
    """One pattern's lines so far; as large after a million of them as after a hundred."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._count = 0
        self._example = ""
        self._details: dict[str, int] = {}
        self._more = 0

    def add(self, line: str) -> None:
        self._count += 1
        self._example = self._example or clean(line)
        what = clean(detail(self._pattern, line))
        if not what:
            return
        if what in self._details or len(self._details) < DETAILS:
            self._details[what] = self._details.get(what, 0) + 1
        else:
            self._more += 1

    def result(self) -> PatternCount:
        return PatternCount(
            id=self._pattern.id,
            title=self._pattern.title,
            meaning=self._pattern.meaning,
            fix=self._pattern.fix,
            count=self._count,
            example=self._example,
            details=tuple(sorted(self._details.items(), key=lambda item: (-item[1], item[0]))),
            more=self._more,
        )


def logs(texts: Mapping[Ref, Recognition | str], pods: Iterable[Pod], cut: Collection[Ref] = ()) -> LayerResult:
    """The layer: what each pod's istio-proxy wrote.

    Args:
        texts: what was recognised by pod, or a sentence where the log could not be read.
        pods: those whose addresses are known, so that a refused caller gets a name.
        cut: pods whose log came faster than it could be read.
    """
    if texts and all(text == NOT_ASKED for text in texts.values()):
        return LayerResult(layer=Layer.LOGS, status=Status.SKIPPED, reason=NOT_ASKED)
    # a node's address is its kubelet's as well
    own = (pod for pod in pods if pod.status.pod_ip and not pod.spec.host_network)
    names = {pod.status.pod_ip: str(pod.ref) for pod in own}
    read = {ref: text for ref, text in texts.items() if isinstance(text, Recognition)}
    unread = {ref: text for ref, text in texts.items() if isinstance(text, str)}
    findings = tuple(_finding(ref, counted, names) for ref, text in read.items() for counted in text.patterns)
    blocking = any(finding.blocks for finding in findings)
    return LayerResult(
        layer=Layer.LOGS,
        status=Status.FAILED if blocking else Status.UNKNOWN if unread or not texts else Status.OK,
        findings=findings,
        lines=tuple(
            f"{ref}: {text.lines} lines, {len(text.patterns)} known patterns{_CUT_SHORT if ref in cut else ''}"
            for ref, text in read.items()
        ),
        reason=grouped(unread) or ("" if texts else "no pod with a sidecar is asked about"),
    )


def _finding(ref: Ref, counted: PatternCount, names: Mapping[str, str]) -> Finding:
    details = [f"{names.get(what, what)}: {count}" for what, count in counted.details]
    return Finding(
        ref=ref,
        field="log of istio-proxy",
        measured=f"{counted.title}: {counted.count} lines",
        where=(counted.meaning, *details, f"for example: {counted.example}"),
        fix=counted.fix,
        check=counted.id,
        severity=Severity.BLOCKING if counted.id in _BLOCKING else Severity.WARNING,
        new=False,
    )
