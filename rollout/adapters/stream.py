"""An answer of the API server that goes on: read as it comes, ended by whoever waits for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from rollout.adapters.failures import Ask, silence

#: Bytes at a time.
_CHUNK = 64 * 1024


class Stream:
    """The body of one answer.

    Args:
        response: the client's, unread.
        ask: what was asked, for sentences.
    """

    def __init__(self, response: Any, ask: Ask) -> None:
        """Nothing is read yet."""
        self._response, self._ask = response, ask
        self._stopped = False

    def __iter__(self) -> Iterator[bytes]:
        """Pieces, as they come; the end is the server's, or `stop`.

        Raises:
            Unreachable: the connection broke, or no byte came for as long as the request waits.
        """
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        try:
            for piece in self._response.stream(_CHUNK, decode_content=False):
                if self._stopped:
                    return
                yield piece
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            if self._stopped:  # its socket went away under the reader
                return
            raise silence(self._ask, error, timeout=isinstance(error, ReadTimeoutError)) from error

    def stop(self) -> None:
        """Let a reader in another thread go; the connection is of no use any more."""
        self._stopped = True
        with suppress(Exception):
            if hasattr(self._response, "shutdown"):
                self._response.shutdown()
            else:  # urllib3 before 2.3
                self._response.connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """By the reader itself: the connection is not used again."""
        with suppress(Exception):
            self._response.close()
