"""A server that knows nothing: it answers from the table of recorded answers. The replays must tell it from a lab."""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.lab.api.renaming import every
from tests.lab.api.replay import PLACEHOLDER, Json
from tests.loopback import Handler, serving

Table = dict[tuple[str, str, str], deque[Json]]
UNKNOWN: Json = {"status": 404, "headers": {}, "bodyText": "not in the table"}
STAMP = "2026-01-01T00:00:00Z"


def _value(match: re.Match[str]) -> str:
    """What stands for a placeholder: always the same."""
    number = match[2] or "0"
    match match[1] or match[3]:
        case "uid":
            return f"00000000-0000-4000-8000-{int(number):012d}"
        case "rv":
            return str(1000 + int(number)) if number.isdigit() else "1000"
        case "suffix":
            return f"abcd{number[-1]}"
        case "fill":
            return "x" * int(number)
        case "token":
            return f"{number}-token"
        case "time":
            return STAMP
        case "age":
            return "1s"
        case kind:
            return f"{kind}{number}"


def _filled(value: Any) -> Any:
    if isinstance(value, str):
        return PLACEHOLDER.sub(_value, value)
    if isinstance(value, list):
        return [_filled(item) for item in value]
    if isinstance(value, dict):
        return {_filled(key): _filled(item) for key, item in value.items()}
    return value


def _body(response: Json) -> bytes:
    if "stream" in response:
        return "".join(json.dumps(_filled(event)) + "\n" for event in response["stream"]).encode()
    if "body" in response:
        return b"" if response["body"] is None else json.dumps(_filled(response["body"])).encode()
    return str(_filled(response.get("bodyText") or response.get("bodyPrefix") or "")).encode()


class _Handler(Handler):
    """Looks requests up."""

    table: Table

    def serve(self) -> None:
        """The next stored answer to exactly this request."""
        known = self.table[(self.command, self.path, self.body().decode())]
        response = known.popleft() if known else UNKNOWN
        body = _body(response)
        self.send_response_only(response["status"])
        for name, value in response["headers"].items():
            for each in value if isinstance(value, list) else [value]:
                if name != "Content-Encoding":
                    self.send_header(name, _filled(each))
        if response["status"] != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _learned(topic: Json) -> Table:
    table: Table = defaultdict(deque)
    for exchange in every(topic["exchanges"]):
        request = exchange["request"]
        sent = json.dumps(request["body"]) if "body" in request else request.get("bodyText", "")
        table[(request["method"], _filled(request["path"]), _filled(sent))].append(exchange["response"])
    return table


@contextmanager
def table_server(topic: Json) -> Iterator[int]:
    """Serve the answers of a topic; yields the port."""
    with serving(_Handler, table=_learned(topic)) as port:
        yield port
