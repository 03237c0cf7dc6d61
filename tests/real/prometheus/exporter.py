"""A live exporter: the counters that the proxies of a running lab show at this moment, for a real server to scrape."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rollout.lab.mesh.samples import ScrapeStorage
from rollout.lab.promql import is_stale
from rollout.lab.promql.labels import NAME


class Exporter:
    """Serves the newest value of every live series as text on a free loopback port.

    Attributes:
        serving: while it is not set a scrape fails with 503.
        scrapes: how many were answered.
    """

    def __init__(self, storage: ScrapeStorage) -> None:
        """Serve nothing yet."""
        self._storage = storage
        self.serving = threading.Event()
        self.scrapes = 0
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not exporter.serving.is_set():
                    self.send_error(503)
                    return
                body = exporter.text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                exporter.scrapes += 1

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Be silent."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._http.server_address[1]}"

    def text(self) -> str:
        """The exposition format, without types; `up` is the scraper's own."""
        lines = []
        for series in self._storage.all():
            value, name = series.last, series.labels[NAME]
            if value is None or is_stale(value) or name == "up":
                continue
            labels = ",".join(f'{key}="{_escaped(text)}"' for key, text in series.labels.items() if key != NAME)
            lines.append(f"{name}{{{labels}}} {value}\n")
        return "".join(lines)

    @contextmanager
    def running(self) -> Iterator[Exporter]:
        """Answer scrapes meanwhile."""
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            thread.join()
            self._http.server_close()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
