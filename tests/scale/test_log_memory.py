"""A log is read line by line, so that its size does not matter."""

from __future__ import annotations

import tracemalloc

from rollout.diagnosis.patterns import lines, recognise
from rollout.model.diagnosis import Recognition

MEGABYTE = 2**20
HEALTHY = (
    b'[2026-03-02T12:00:00.000Z] "GET /pay HTTP/1.1" 200 - via_upstream - "-" 0 95 2 - "-" "curl/8.1" "f00-1" '
    b'"ledger.payments" "-" outbound|80||ledger.payments.svc.cluster.local 10.0.0.9:40112 10.96.0.7:80 '
    b"10.0.0.9:33554 - default\n"
)
REFUSED = (
    b'[2026-03-02T12:00:00.000Z] "- - -" 0 NR filter_chain_not_found - "-" 0 0 0 - "-" "-" "-" "-" "-" - - '
    b"10.0.0.1:8080 10.0.0.9:41234 - -\n"
)


class Endless:
    """A stream of so many bytes, made as they are read: these lines again and again."""

    def __init__(self, size: int, *text: bytes) -> None:
        """A line without `\\n` at its end never ends."""
        self.left = size
        self.text = text
        self.place = 0
        self.rest = b""

    def readline(self, limit: int = -1, /) -> bytes:
        """As BufferedReader.readline."""
        if not self.rest:
            if self.left <= 0:
                return b""
            self.rest = self.text[self.place % len(self.text)]
            self.place += 1
            self.left -= len(self.rest)
        chunk, self.rest = self.rest[:limit], self.rest[limit:]
        return chunk


def measured(stream: Endless) -> Recognition:
    """What is recognised, in under four megabytes."""
    tracemalloc.start()
    try:
        found = recognise(lines(stream))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MEGABYTE
    assert stream.left <= 0
    return found


def test_a_log_of_100_mb_needs_little_memory() -> None:
    """Lines as Envoy writes them, one of ten a refusal."""
    found = measured(Endless(100 * MEGABYTE, *[HEALTHY] * 9, REFUSED))
    assert found.lines > 300_000
    assert abs(found.lines - 10 * found.patterns[0].count) < 10


def test_100_mb_in_one_line_need_little_memory() -> None:
    """Its beginning is looked at."""
    found = measured(Endless(100 * MEGABYTE, b"connection reset by peer " * 40_000))
    assert (1, 1) == (found.lines, found.patterns[0].count)
