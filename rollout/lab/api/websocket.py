"""WebSockets as a server speaks them (RFC 6455): the handshake and the frames that exec needs."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Sequence

from rollout.lab.api.http import HttpRequest
from rollout.lab.api.status import ApiError

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_LARGEST = 1 << 20  # of a client's message: it sends keystrokes and acknowledgements
NORMAL = 1000


def upgrades(request: HttpRequest) -> bool:
    """Whether the request asks for a WebSocket."""
    wanted = {word.strip().lower() for word in request.header("connection").split(",")}
    return "upgrade" in wanted and request.header("upgrade").lower() == "websocket"


def handshake(request: HttpRequest, spoken: Sequence[str]) -> list[tuple[str, str]]:
    """The headers of the 101: the client's first subprotocol that the server speaks, too.

    Raises:
        ApiError: 400, no key, or no subprotocol in common.
    """
    key = request.header("sec-websocket-key")
    if not key or request.header("sec-websocket-version") != "13":
        raise ApiError(400, "BadRequest", "bad websocket handshake", text="websocket: bad handshake\n")
    offered = [word.strip() for value in request.headers.get("sec-websocket-protocol", ()) for word in value.split(",")]
    chosen = next((word for word in offered if word in spoken), None)
    if chosen is None:
        text = f"unable to upgrade: unsupported subprotocols {offered}, the server speaks {list(spoken)}\n"
        raise ApiError(400, "BadRequest", text, text=text)
    digest = hashlib.sha1(key.encode() + _MAGIC.encode(), usedforsecurity=False).digest()
    return [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),
        ("Sec-WebSocket-Protocol", chosen),
    ]


class WebSocket:
    """An open connection.

    Args:
        read: exactly so many bytes; fewer at the end.
        write: sends bytes at once.
        protocol: the subprotocol agreed upon.
    """

    def __init__(self, read: Callable[[int], bytes], write: Callable[[bytes], None], protocol: str) -> None:
        """Speak on it."""
        self._read, self._write, self.protocol = read, write, protocol

    def send(self, message: bytes) -> None:
        """One binary message."""
        self._frame(_BINARY, message)

    def receive(self) -> bytes | None:
        """The next message, pings answered on the way; None: the client closed or is gone."""
        message = b""
        while True:
            final, opcode, payload = self._next()
            if opcode == _CLOSE:
                return None
            if opcode == _PING:
                self._frame(_PONG, payload)
            elif opcode != _PONG:
                message += payload
                if len(message) > _LARGEST:
                    return None
                if final:
                    return message

    def close(self, code: int = NORMAL) -> None:
        """Say good-bye and wait for the client's."""
        self._frame(_CLOSE, struct.pack("!H", code))
        while self.receive() is not None:
            continue

    def _next(self) -> tuple[bool, int, bytes]:
        head = self._exactly(2)
        if head is None:
            return True, _CLOSE, b""
        size = head[1] & 0x7F
        if size >= 126:
            more = self._exactly(2 if size == 126 else 8)
            size = int.from_bytes(more or b"")
        masked = bool(head[1] & 0x80)
        mask = self._exactly(4) if masked else b"\0\0\0\0"
        payload = self._exactly(size) if size <= _LARGEST else None
        if mask is None or payload is None:
            return True, _CLOSE, b""
        return bool(head[0] & 0x80), head[0] & 0x0F, bytes(b ^ mask[i % 4] for i, b in enumerate(payload))

    def _exactly(self, size: int) -> bytes | None:
        found = self._read(size) if size else b""
        return found if len(found) == size else None

    def _frame(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
        self._write(head + payload)
