"""HTTP/1.1 between a socket and values: one request is read, one answer written; what is asked is not its business."""

from __future__ import annotations

import select
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from rollout.lab.api.http import HttpAnswer, HttpRequest, json_answer
from rollout.lab.api.websocket import WebSocket
from rollout.lab.clock import ClockClosed

_HANG_UP = getattr(select, "POLLRDHUP", select.POLLIN)  # where the system cannot tell, a peek does


class Dropped(Exception):
    """The connection is to be cut without an answer."""


class Listener(ThreadingHTTPServer):
    """A listening socket, and a thread for each of its connections.

    Attributes:
        stopping: set when streams are to end.
        failures: what went wrong in a connection's thread.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[Connection]) -> None:
        """Bind the address; nothing is accepted before `serve_forever`."""
        super().__init__(address, handler)
        self.stopping = threading.Event()
        self.failures: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._idle = threading.Condition()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, known to `hang_up`."""
        with self._idle:
            self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._idle:
                self._open.discard(request)
                self._idle.notify_all()

    def hang_up(self) -> None:
        """Cut every connection and wait (a few seconds at most) for their threads."""
        with self._idle:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            self._idle.wait_for(lambda: not self._open, timeout=5.0)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Keep what went wrong for the tests; a client that left is nothing wrong."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError | ClockClosed):
            self.failures.append(error)


class Connection(BaseHTTPRequestHandler):
    """One TCP connection with all its requests; what inherits it says what the answers are."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: unbuffered, a keep-alive client waits 40 ms for each answer
    disable_nagle_algorithm = True

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """What is answered to this request.

        Raises:
            Dropped: nothing, and the connection is cut.
        """
        raise NotImplementedError

    def wait_for(self, woken: socket.socket) -> bool:
        """Wait until there is something to read on a socket; False when this connection's client leaves before."""
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        poll.register(self.connection, _HANG_UP)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if woken.fileno() in ready:
                return True
            if self._left():
                return False
            poll.modify(self.connection, 0)

    def __getattr__(self, name: str) -> Any:
        """`do_GET` and every other verb, made-up ones too."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Be silent: the tests and the tool have the terminal."""

    def finish(self) -> None:
        """Flush what is left, if anybody is there to read it."""
        try:
            super().finish()
        except (ConnectionError, ValueError):
            self.close_connection = True

    def _serve(self) -> None:
        try:
            body = self._body()
        except ValueError:
            self.close_connection = True
            self._send(json_answer(400, {"error": "the length of the body is no number"}))
            return
        request = HttpRequest(self.command, self.path, self._headers(), body)
        try:
            self._send(self.answer(request))
        except (Dropped, ClockClosed, ConnectionError, TimeoutError):
            self.close_connection = True

    def _headers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            found.setdefault(name.lower(), []).append(value)
        return found

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length) if length else b""

    def _chunks(self) -> bytes:
        pieces: list[bytes] = []
        while size := int(self.rfile.readline().partition(b";")[0] or b"0", 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _send(self, answer: HttpAnswer) -> None:
        self.send_response_only(answer.status)
        self.send_header("Date", self.date_time_string())  # real time: a client's cache counts from it
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.upgrade is not None:
            self._upgrade(answer)
            return
        if answer.content_type:
            self.send_header("Content-Type", answer.content_type)
        if answer.stream is not None:
            self._send_stream(answer)
            return
        if answer.status != 304:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def _upgrade(self, answer: HttpAnswer) -> None:
        assert answer.upgrade is not None
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True

        def write(data: bytes) -> None:
            self.wfile.write(data)
            self.wfile.flush()

        answer.upgrade(WebSocket(self.rfile.read, write, dict(answer.headers)["Sec-WebSocket-Protocol"]))

    def _send_stream(self, answer: HttpAnswer) -> None:
        assert answer.stream is not None
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for piece in answer.stream:
            if piece:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()
            elif self._hung_up():
                raise Dropped
        if cast("Listener", self.server).stopping.is_set():
            raise Dropped
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _left(self) -> bool:
        try:
            peeked: bytes = self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return not peeked

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.connection, _HANG_UP)
        return bool(poll.poll(0)) and self._left()
