"""Which Services a pod's settings name, and on which port: the likeliest sign that it calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from rollout.model.kubernetes import PodSpec
from rollout.world.suspects import naming, shown

_AFTER = re.compile(r"[\w.-]*(?::(?P<port>\d{1,5})\b)?")
_WORD = re.compile(r"[a-z0-9-]+")
_DEFAULTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class Mention(msgspec.Struct, frozen=True):
    """`port` is the Service's, None where the text tells none; `text` is for people, without credentials."""

    service: str
    port: int | None
    text: str


class Named:
    """In which of many pods' settings a word stands: a Service is looked for there alone."""

    def __init__(self, specs: Iterable[PodSpec]) -> None:
        """Take every word once."""
        self._places: dict[str, list[int]] = {}
        for place, spec in enumerate(specs):
            for word in {word for _, _, text in _texts(spec) for word in _WORD.findall(text)}:
                self._places.setdefault(word, []).append(place)

    def places(self, services: Iterable[str]) -> list[int]:
        """The places of those that `Mentions` of these Services may say something of, in their order."""
        return sorted({place for name in services for place in self._places.get(name, ())})


class Mentions:
    """Looks for the Services of one namespace; a pattern is made when the first text may match, for all pods."""

    def __init__(self, services: Iterable[str], namespace: str) -> None:
        """Without Services nothing is found."""
        self._names = frozenset(services)
        self._namespace = namespace
        self._patterns: dict[bool, re.Pattern[str]] = {}

    def of(self, spec: PodSpec, namespace: str) -> Iterator[Mention]:
        """In environments, commands and arguments; ConfigMaps are not read."""
        same = namespace == self._namespace
        for container, where, text in _texts(spec):
            words = set(_WORD.findall(text))  # a pattern of hundreds of names is slow: few texts can match
            if self._names.isdisjoint(words) or not (same or self._namespace in words):
                continue
            for match in self._pattern(same=same).finditer(text):
                yield Mention(
                    self._service(match.group()), _port(text, match), f"{container} {where}: {shown(text, match)}"
                )

    def _pattern(self, *, same: bool) -> re.Pattern[str]:
        if same not in self._patterns:
            self._patterns[same] = naming(self._names, self._namespace, same=same)
        return self._patterns[same]

    def _service(self, found: str) -> str:
        labels = found.partition(":")[0].split(".")
        return labels[-2] if len(labels) > 1 and labels[-1] == self._namespace else labels[0]


def _texts(spec: PodSpec) -> Iterator[tuple[str, str, str]]:
    """Container, place and text of each setting."""
    for container in (*spec.containers, *spec.init_containers):
        for variable in container.env:
            yield container.name, f"env {variable.name}", variable.value
        yield container.name, "args", " ".join((*container.command, *container.args))


def _port(text: str, match: re.Match[str]) -> int | None:
    _, colon, port = match.group().partition(":")
    if colon:
        return int(port)
    after = _AFTER.match(text, match.end())
    if after is not None and after["port"]:
        return int(after["port"])
    scheme = re.search(r"([a-z]+)://(?:[^/\s@]*@)?$", text[: match.start()])
    return _DEFAULTS.get(scheme[1]) if scheme else None
