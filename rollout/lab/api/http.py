"""A request and an answer of the API, apart from sockets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

if TYPE_CHECKING:
    from rollout.lab.api.websocket import WebSocket

JSON = "application/json"


@dataclass
class HttpRequest:
    """One request; header names in lower case, each with all its values."""

    method: str
    target: str
    headers: Mapping[str, list[str]]
    body: bytes
    path: str = field(init=False)
    query: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        """Split the target."""
        parts = urlsplit(self.target)
        self.path = unquote(parts.path)
        self.query = {}
        if parts.query:
            for key, value in parse_qsl(parts.query, keep_blank_values=True):
                self.query.setdefault(key, []).append(value)

    def header(self, name: str) -> str:
        """The first value of a header, ''."""
        values = self.headers.get(name)
        return values[0] if values else ""

    def parameter(self, name: str) -> str:
        """The first value of a query parameter, ''."""
        values = self.query.get(name)
        return values[0] if values else ""

    @property
    def media(self) -> str:
        """The content type without its parameters."""
        return self.header("content-type").partition(";")[0].strip()

    @property
    def user_agent(self) -> str:
        """The default field manager: the user agent up to the first slash."""
        return self.header("user-agent").partition("/")[0] or "unknown"


@dataclass
class HttpAnswer:
    """One answer: whole (`body`), or a stream of pieces that ends when the iterator does, or a 101 (`upgrade`)."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)
    stream: Iterator[bytes] | None = None
    upgrade: Callable[[WebSocket], None] | None = None


def json_answer(status: int, document: Any, *, pretty: bool = False) -> HttpAnswer:
    """An answer with a JSON body."""
    if pretty:
        return HttpAnswer(status, json.dumps(document, indent=2, ensure_ascii=False).encode())
    return HttpAnswer(status, encode(document))


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)


def encode(document: Any) -> bytes:
    """Compact JSON with the newline that the server sends."""
    return _encoder.encode(document).encode() + b"\n"


class _Dumper(yaml.SafeDumper):
    """YAML as Go writes it: texts that look like something else stand in double quotes."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    tag = "tag:yaml.org,2002:str"
    plain = dumper.resolve(yaml.ScalarNode, text, (True, False)) == tag  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(tag, text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def yaml_answer(status: int, document: Any) -> HttpAnswer:
    """An answer with a YAML body."""
    return HttpAnswer(status, yaml.dump(document, Dumper=_Dumper).encode(), "application/yaml")


_COMPRESS_FROM = 128 * 1024


def compressed(request: HttpRequest, answer: HttpAnswer) -> HttpAnswer:
    """The answer as it goes out: a big one compressed, when the client takes that."""
    if len(answer.body) <= _COMPRESS_FROM or "gzip" not in request.header("accept-encoding"):
        return answer
    headers = [*answer.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return HttpAnswer(answer.status, gzip.compress(answer.body, 1), answer.content_type, headers)


def text_answer(status: int, text: str) -> HttpAnswer:
    """An answer in plain text."""
    answer = HttpAnswer(status, text.encode(), "text/plain; charset=utf-8")
    answer.headers.append(("X-Content-Type-Options", "nosniff"))
    return answer


ServiceHandler = Callable[[str, str, dict[str, list[str]], Mapping[str, str], bytes], tuple[int, str, bytes]]
"""(method, path, query, headers, body) -> (status, content type, body)."""
