"""`GET …/pods/NAME/log`: the options as the real server checks them, and a container's lines as kubelet hands them out.

Whoever runs the containers gives the lines (`LogSource`); a server without one serves empty logs. The wording is that
of kube-apiserver's and kubelet's source.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from rollout.lab.api.http import HttpAnswer, HttpRequest, text_answer
from rollout.lab.api.status import ApiError, Json, bad_request, details

_POLL = 0.1
"""Real seconds between two looks of `follow`."""

LogLine = tuple[datetime, str]


class LogSource(Protocol):
    """What containers write."""

    def __call__(self, namespace: str, pod: str, container: str, since: datetime | None) -> list[LogLine]:
        """The lines that are kept, oldest first; `since`: those written at that time or later."""
        ...


def no_logs(namespace: str, pod: str, container: str, since: datetime | None) -> list[LogLine]:  # noqa: ARG001
    """Nothing was ever written."""
    return []


@dataclass(frozen=True)
class LogOptions:
    """PodLogOptions."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since_seconds: int | None = None
    since_time: datetime | None = None
    tail: int | None = None
    limit: int | None = None


def options(request: HttpRequest, name: str) -> LogOptions:
    """The query's options.

    Raises:
        ApiError: 400 for what is no number, boolean or time, 422 for what cannot be meant.
    """
    found = LogOptions(
        container=request.parameter("container"),
        follow=_boolean(request, "follow"),
        previous=_boolean(request, "previous"),
        timestamps=_boolean(request, "timestamps"),
        since_seconds=_number(request, "sinceSeconds"),
        since_time=_moment(request, "sinceTime"),
        tail=_number(request, "tailLines"),
        limit=_number(request, "limitBytes"),
    )
    wrong = [
        ("tailLines", found.tail, 0, "must be greater than or equal to 0"),
        ("limitBytes", found.limit, 1, "must be greater than 0"),
        ("sinceSeconds", found.since_seconds, 1, "must be greater than 0"),
    ]
    said = [f"{key}: Invalid value: {value}: {text}" for key, value, least, text in wrong
            if value is not None and value < least]  # fmt: skip
    if found.since_seconds is not None and found.since_time is not None:
        said.append("sinceSeconds: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")
    if said:
        text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
        about = details(name, "", "PodLogOptions")
        raise ApiError(422, "Invalid", f'PodLogOptions "{name}" is invalid: {text}', about)
    return found


def container_of(pod: Mapping[str, Any], asked: str) -> str:
    """The container that is meant; a pod with one of its own needs no name.

    Raises:
        ApiError: 400, there is none of that name, or several to choose from.
    """
    name, spec = pod["metadata"]["name"], pod["spec"]
    own = [c["name"] for c in spec.get("containers") or ()]
    before = [c["name"] for c in spec.get("initContainers") or ()]
    if asked:
        if asked not in (*own, *before):
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(own) == 1:
        return str(own[0])
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(own)}]"
    raise bad_request(text + (f" or one of the init containers: [{' '.join(before)}]" if before else ""))


def answer(
    request: HttpRequest, pod: Json, source: LogSource, now: Callable[[], datetime], closed: Callable[[], bool]
) -> HttpAnswer:
    """The log of a container of a stored pod; `follow` goes on until the client leaves or the server stops.

    Raises:
        ApiError: 400 or 422.
    """
    name = pod["metadata"]["name"]
    asked = options(request, name)
    container = container_of(pod, asked.container)
    if asked.previous:
        raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    place = (pod["metadata"]["namespace"], name, container)
    if not pod["spec"].get("nodeName"):
        return text_answer(200, "")
    since = asked.since_time
    if asked.since_seconds is not None:
        since = now() - timedelta(seconds=asked.since_seconds)
    lines = source(*place, since)
    if asked.tail is not None:
        lines = lines[len(lines) - min(asked.tail, len(lines)) :]
    if asked.follow:
        pieces = _followed(lines, lambda after: source(*place, after), asked, closed, since=now())
        return HttpAnswer(200, content_type="text/plain; charset=utf-8", stream=pieces)
    body = b"".join(_shown(line, asked) for line in lines)
    found = text_answer(200, "")
    found.body = body if asked.limit is None else body[: asked.limit]
    return found


def _followed(
    lines: list[LogLine],
    more: Callable[[datetime], list[LogLine]],
    asked: LogOptions,
    closed: Callable[[], bool],
    *,
    since: datetime,
) -> Iterator[bytes]:
    """The lines, and those that are written after them (after `since` where there are none)."""
    left = asked.limit
    seen = lines[-1][0] if lines else since
    while True:
        for at, text in lines:
            piece = _shown((at, text), asked)
            yield piece if left is None else piece[:left]
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    return
            seen = at
        if closed():
            return
        yield b""
        time.sleep(_POLL)
        lines = [line for line in more(seen) if line[0] > seen]


def _shown(line: LogLine, asked: LogOptions) -> bytes:
    at, text = line
    head = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z " if asked.timestamps else ""
    return f"{head}{text}\n".encode()


def _number(request: HttpRequest, key: str) -> int | None:
    text = request.parameter(key)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _boolean(request: HttpRequest, key: str) -> bool:
    return key in request.query and request.parameter(key).lower() not in ("0", "false")


def _moment(request: HttpRequest, key: str) -> datetime | None:
    text = request.parameter(key)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise bad_request(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')
    return found
