"""Prometheus at its own address, asked by prometheus_api_client.

That library throws warnings, statuses and error bodies away and writes long queries into the URL (facts: libraries.md
1.6), so the `requests` session under it is ours: it keeps the answer, and sends long queries in a body.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3

from rollout.adapters.failures import innermost
from rollout.adapters.prometheus import NoAnswerInTime, Reply
from rollout.adapters.transport import bare, loopback
from rollout.errors import MetricsUnreachable, UsageError

#: Characters of a query that still goes into the URL: proxies cut at 8 kB, percent encoding triples.
LONG = 2000


class _Session(requests.Session):
    """Keeps the last answer; a long query goes as a form."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # ~/.netrc would replace the bearer token
        self.last: requests.Response | None = None
        self.limit: float | None = None

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **options: Any) -> requests.Response:
        """As `requests` has it."""
        params = options.get("params") or {}
        if method == "GET" and len(params.get("query", "")) > LONG:
            method, options = "POST", {**options, "params": None, "data": params}
        if self.limit is not None:
            connect, read = options["timeout"]
            options = {**options, "timeout": (connect, min(read, self.limit))}
        self.last = None
        self.last = super().request(method, url, *args, **options)
        self.last.json = _unread  # type: ignore[method-assign]
        return self.last


def _unread(**_: Any) -> dict[str, Any]:
    """What the client library makes of the JSON is never used, and costs more than the query."""
    return {"data": {"result": []}}


class _Conversation(threading.local):
    """One thread's session: `requests` does not promise that several may share one."""

    session: _Session | None = None
    connect: Any = None


class DirectSource:
    """Prometheus at a URL."""

    def __init__(
        self,
        url: str,
        *,
        bearer_token: str | Callable[[], str],
        verify: bool | str,
        headers: Mapping[str, str],
        timeout: float,
    ) -> None:
        """Nothing is sent yet."""
        if isinstance(verify, str) and not Path(verify).exists():
            raise UsageError("there is no file with the authority of Prometheus' certificate", where=verify)
        if not verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it is asked for
        parts = urlsplit(url)
        self._address = bare(url)
        self._token = bearer_token
        self._verify = verify
        self._headers = dict(headers)
        self._timeout = (3.05, timeout)
        self._user = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._mine = _Conversation()
        self._sessions: list[_Session] = []

    def address(self) -> str:
        """The URL without credentials."""
        return self._address

    def fetch(self, endpoint: str, params: dict[str, str], limit: float | None = None) -> Reply:
        """Ask once."""
        from prometheus_api_client.exceptions import PrometheusApiClientException

        session, connect = self._conversation()
        session.limit = limit
        query, rest = params["query"], {key: value for key, value in params.items() if key != "query"}
        try:
            if endpoint == "query":
                connect.custom_query(query, params=rest)
            else:
                start, end = (datetime.fromtimestamp(float(rest[key]), UTC) for key in ("start", "end"))
                connect.custom_query_range(query, start, end, rest["step"], params=rest)
        except (PrometheusApiClientException, requests.exceptions.JSONDecodeError, KeyError, TypeError):
            pass  # an answer came; what it means is read from the answer itself
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise self._silence(error, query) from error
        answer = session.last
        if answer is None:
            raise MetricsUnreachable("Prometheus gave no answer", where=self._address)
        return Reply(answer.status_code, answer.content)

    def close(self) -> None:
        """Close the connections."""
        for session in self._sessions:
            session.close()

    def _conversation(self) -> tuple[_Session, Any]:
        from prometheus_api_client import PrometheusConnect

        session = self._mine.session
        if session is None:
            session = self._mine.session = _Session()
            session.verify = self._verify
            if not loopback(self._address):
                session.proxies.update(requests.utils.get_environ_proxies(self._address))
            session.headers.update(self._headers)
            session.auth = None if self._token else self._user
            self._mine.connect = PrometheusConnect(
                self._address, session=session, retry=urllib3.Retry(0, read=False), timeout=self._timeout
            )
            self._sessions.append(session)
        if self._token:
            token = self._token if isinstance(self._token, str) else self._token()
            session.headers["Authorization"] = f"Bearer {token.strip()}"
        return session, self._mine.connect

    def _silence(self, error: Exception, query: str) -> MetricsUnreachable | NoAnswerInTime:
        if isinstance(error, requests.exceptions.ReadTimeout) or "Read timed out" in str(error):
            return NoAnswerInTime(
                "Prometheus did not answer the query in time",
                where=f"{self._address}: {query[:200]}",
                next="ask for a shorter range",
            )
        if isinstance(error, requests.exceptions.SSLError):
            problem = f"Prometheus' certificate is not trusted: {innermost(error)}"
            return MetricsUnreachable(problem, where=self._address, next="name the file of the authority to trust")
        problem = f"Prometheus cannot be reached: {innermost(error)}"
        return MetricsUnreachable(problem, where=self._address, next="check the address; does Prometheus run there?")
