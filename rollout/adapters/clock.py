"""Time: the machine's, or the lab's, which jumps when everybody waits (DESIGN.md, "The lab")."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from rollout.errors import Unreachable

#: Seconds between two looks at the stop flag and the wall clock (a suspended machine wakes late, not never).
SLICE = 0.5


def _never() -> bool:
    return False


class SystemClock:
    """`ports.Clock` of this machine.

    Args:
        stopping: tells that a sleep should end early.
        sleep: for tests.
        now: for tests.
    """

    def __init__(
        self,
        stopping: Callable[[], bool] = _never,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep them."""
        self._stopping = stopping
        self._sleep = sleep
        self._now = now

    def now(self) -> datetime:
        """Aware, UTC."""
        return self._now()

    def sleep_until(self, until: datetime) -> None:
        """In slices, by the wall clock."""
        while not self._stopping():
            left = (until - self._now()).total_seconds()
            if left <= 0:
                return
            self._sleep(min(left, SLICE))

    def sleep(self, seconds: float) -> None:
        """For so long."""
        self.sleep_until(self._now() + timedelta(seconds=seconds))

    def close(self) -> None:
        """Nothing to close; here so that both clocks end alike."""


def lab_kubeconfig(url: str, *, timeout: float = 30.0) -> str:
    """The kubeconfig of the cluster that a lab drives: its own API server, or another one.

    Args:
        url: the lab's.
        timeout: seconds.

    Raises:
        Unreachable: no lab answers there.
    """
    parts = urlsplit(url)
    place = f"{url.rstrip('/')}/lab/kubeconfig"
    try:
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=timeout)
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}/lab/kubeconfig")
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = f"the lab cannot be read: {type(error).__name__}: {error}"
        raise Unreachable(said, where=place, next="does the lab still run?") from error
    if answer.status != 200:
        raise Unreachable(f"the lab answers {answer.status}", where=place, next="does the lab still run?")
    return text


class LabClock:
    """`ports.Clock` of a lab.

    The attachment is one kept connection: when this process dies the lab sees it close and no longer waits for us.
    A sleep that was broken off leaves an answer under way, so it ends the attachment; the next sleep attaches anew.

    Args:
        url: the lab's, such as `http://127.0.0.1:8001`, with or without `/lab/clock`.
        timeout: real seconds that the lab may take for an answer; a sleep waits for other participants' work.
    """

    def __init__(self, url: str, *, timeout: float = 600.0) -> None:
        """Nothing is sent yet."""
        self._url = url.rstrip("/").removesuffix("/lab/clock")
        parts = urlsplit(self._url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None
        self._last: datetime | None = None

    def attach(self) -> datetime:
        """Become a participant: from now on time stands still while we are awake."""
        self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return self._ask("POST", "/lab/clock/attach", {})

    def now(self) -> datetime:
        """The last answer of the lab; before attaching time runs, so it is asked."""
        if self._connection is not None and self._last is not None:
            return self._last
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            return self._exchange(connection, "GET", "/lab/clock", None)
        finally:
            connection.close()

    def sleep_until(self, until: datetime) -> None:
        """Return at `until` of the lab's time."""
        if self._connection is None:
            self.attach()
        if self._last is not None and until <= self._last:
            return
        self._ask("POST", "/lab/clock/sleep", {"until": until.astimezone(UTC).isoformat()})

    def sleep(self, seconds: float) -> None:
        """For so long, in the lab's time."""
        self.sleep_until(self.now() + timedelta(seconds=seconds))

    def close(self) -> None:
        """Detach."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(self, method: str, path: str, body: dict[str, str]) -> datetime:
        if self._connection is None:
            raise Unreachable("the lab's clock is not attached", where=self._url)
        try:
            return self._exchange(self._connection, method, path, body)
        except BaseException:
            self.close()
            raise

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, str] | None
    ) -> datetime:
        headers = {"Content-Type": "application/json"}
        try:
            connection.request(method, self._prefix + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status >= 300:
                raise Unreachable(f"the lab's clock answers {answer.status}", where=self._url + path)
            self._last = datetime.fromisoformat(json.loads(data)["now"]).astimezone(UTC)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise Unreachable(
                f"the lab's clock cannot be read: {type(error).__name__}: {error}",
                where=self._url + path,
                next="does the lab still run?",
            ) from error
        return self._last
