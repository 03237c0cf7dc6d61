"""A real Prometheus for one test session or one test: found or fetched, started, written to, stopped by pid.

Samples carry the lab's virtual time, days ahead of the wall clock. That a real server takes them was proven
(Debian's 2.42.0, `test_future_samples.py` holds it): remote write checks a sample against the newest one that
the server has, not against the clock, *when out-of-order ingestion is on* (`out_of_order_time_window`), and a
query names its time itself. What follows:

- an empty server takes the first sample of its life at any time; everything after that may be newer (nine days in
  one step were tried), and older by at most the window. So the order of writing does not matter inside the window;
- the head's compaction, minutes later, changes nothing for good; but while a busy server moves its head, it may leave
  series out of an answer without a word, so servers whose answers are compared have ONE_BLOCK;
- with ONE_BLOCK all nine days are the head's: each series may be written whole, in its own order, at 1.8 million
  samples a second instead of 0.9, and a query over eight days takes 0.3 s instead of 1.3 s (5.7 million samples);
- a query without `time=` looks at the wall clock and finds nothing. Every query here has a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.real.prometheus.remote_write import HEADERS, Samples, bodies

CONFIG = "global: {scrape_interval: 15s}\nstorage: {tsdb: {out_of_order_time_window: 60d}}\n"
ONE_BLOCK = ("--storage.tsdb.min-block-duration=30d",)
_HOW = (
    "set PROMETHEUS_BIN, put `prometheus` on PATH, or have apt-get and dpkg-deb "
    "(Debian's package is fetched and unpacked, not installed)"
)


class Unavailable(Exception):
    """No Prometheus binary can be had here; the text says how to get one."""


def find_binary(environ: Mapping[str, str] = os.environ) -> Path:
    """The server's binary: PROMETHEUS_BIN, PATH, the cache, or Debian's package unpacked into the cache.

    Raises:
        Unavailable: none of them; with the reason and the ways to get one.
    """
    if named := environ.get("PROMETHEUS_BIN"):
        if not os.access(named, os.X_OK):
            raise Unavailable(f"PROMETHEUS_BIN={named} is not an executable file")
        return Path(named)
    if found := shutil.which("prometheus", path=environ.get("PATH")):
        return Path(found)
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rollout-tests" / "prometheus"
    binary = cache / "usr" / "bin" / "prometheus"
    if not binary.exists():
        _fetch(cache)
    return binary


def _fetch(cache: Path) -> None:
    """Unpack Debian's package beside the cache, then rename: a second worker never sees half a folder."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Unavailable(f"no Prometheus server: {_HOW}")
    work = cache.with_name(f"prometheus-{os.getpid()}")
    work.mkdir(parents=True, exist_ok=True)
    try:
        _run(["apt-get", "download", "prometheus"], work)
        package = next(work.glob("prometheus_*.deb"))
        _run(["dpkg-deb", "-x", package.name, "unpacked"], work)
        with contextlib.suppress(OSError):  # another worker was first: its copy is as good
            (work / "unpacked").rename(cache)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise Unavailable(f"no Prometheus server: `{' '.join(command)}` failed: {done.stderr.strip()[-300:]}; {_HOW}")


def binary_or_skip() -> Path:
    """The binary; without one the test is skipped, and fails where CI=true promises one."""
    try:
        return find_binary()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


class RealPrometheus:
    """A running server; `url` ends without a slash. Use it as a context manager."""

    def __init__(self, binary: Path, folder: Path, *, config: str = CONFIG, flags: Sequence[str] = ()) -> None:
        """Start on a free loopback port with its data in `folder`, and wait until it answers."""
        self._binary, self._folder, self._flags = binary, folder, tuple(flags)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.yml").write_text(config)
        for _ in range(5):  # the port is free when asked for, and may be gone when bound
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = int(probe.getsockname()[1])
            self.url = f"http://127.0.0.1:{self.port}"
            self._process = self._start()
            if self._wait_until_ready():
                return
            self.close()
        raise RuntimeError((folder / "log.txt").read_text()[-2000:])

    def start(self) -> None:
        """Start again after `close`, with the same data at the same address."""
        self._process = self._start()
        if not self._wait_until_ready():
            self.close()
            raise RuntimeError((self._folder / "log.txt").read_text()[-2000:])

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [
                    str(self._binary),
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--storage.tsdb.retention.time=10y",
                    "--web.enable-remote-write-receiver",
                    "--log.level=warn",
                    *self._flags,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):
                return True
            time.sleep(0.02)
        return False

    def __enter__(self) -> RealPrometheus:
        """The server itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.close()

    def close(self) -> None:
        """Stop this process and no other."""
        if self._process.poll() is None:
            self._process.kill()  # its data is thrown away: no orderly shutdown is worth waiting for
        self._process.wait(timeout=10)

    def write(self, series: Iterable[Samples]) -> None:
        """Remote-write the samples; visible to queries when this returns.

        Raises:
            AssertionError: the server refused; with its words.
        """
        for body in bodies(series):
            request = urllib.request.Request(f"{self.url}/api/v1/write", data=body, headers=HEADERS)
            try:
                with urllib.request.urlopen(request, timeout=60):
                    pass
            except urllib.error.HTTPError as error:
                with error:
                    raise AssertionError(f"remote write: {error.code} {error.read().decode()}") from None

    def get(self, path: str, **parameters: str | float) -> tuple[int, dict[str, Any]]:
        """POST a form to `/api/v1/…` as the tool's client does; the status and the JSON answer."""
        data = urllib.parse.urlencode(parameters).encode()
        try:
            with urllib.request.urlopen(f"{self.url}{path}", data=data, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
