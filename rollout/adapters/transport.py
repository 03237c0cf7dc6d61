"""Bytes to and from the Kubernetes API through the official client.

Its discovery, retries and models are switched off: the snippet of facts: libraries.md 1.3, which runs on the client's
versions 35 to 37.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

import rollout
from rollout.adapters.failures import Ask, failure, silence
from rollout.adapters.kubeconfig import Access
from rollout.adapters.stream import Stream
from rollout.errors import UsageError

#: Seconds to connect, and to wait for bytes.
CONNECT, READ = 3.05, 60.0

#: Connections that are kept: streams of as many pods as are followed, and the requests beside them.
POOL = 32

Query = Sequence[tuple[str, str]]
MERGE_PATCH = "application/merge-patch+json"


class HttpReply(msgspec.Struct, frozen=True):
    """Status, headers and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class _NoDiscovery:
    """Stops the client's own discovery, which caches in a world-readable file under a predictable name."""

    def __init__(self, client: object, cache_file: object = None) -> None:
        """Take what the client passes, and do nothing."""


class Transport:
    """One connection pool; safe to share between threads."""

    def __init__(self, access: Access, *, impersonate: str = "", read_timeout: float = READ) -> None:
        """Build the client; nothing is sent."""
        import urllib3
        from kubernetes import dynamic
        from kubernetes.client import ApiClient

        library: Any = dynamic
        access.configuration.retries = False
        access.configuration.connection_pool_maxsize = POOL  # a full pool writes warnings of its own to stderr
        if not access.configuration.verify_ssl:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the kubeconfig asks for it
        if loopback(access.server):
            access.configuration.proxy = None  # Go's clients never send localhost to $HTTPS_PROXY either
        try:
            api = ApiClient(access.configuration)
        except (OSError, ValueError) as error:
            raise UsageError(f"the kubeconfig's certificates cannot be used: {error}", where=access.context) from error
        api.user_agent = f"rollout/{rollout.__version__}"
        self._api = api
        self._client = library.DynamicClient(api, discoverer=_NoDiscovery)
        self._headers = {"Impersonate-User": impersonate} if impersonate else {}
        self._timeout = (CONNECT, read_timeout)
        self.server = bare(access.server)
        self.context = access.context

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        """Send once and return the answer's body.

        Raises:
            ClusterError: as `failures` has it.
        """
        reply = self.exchange(method, path, query=query, body=body, content_type=content_type)
        if not 200 <= reply.status < 300:
            raise failure(Ask(method, path, self.server, self.context), reply.status, reply.headers, reply.body)
        return reply.body

    def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> HttpReply:
        """Send once and return any answer.

        Raises:
            Unreachable: there was none.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        ask = Ask(method, path, self.server, self.context)
        try:
            response = self._client.request(
                method.lower(),
                path,
                body=None if body is None else dict(body),
                content_type=content_type,
                query_params=list(query),
                header_params={"Accept": "application/json", **self._headers},
                serialize=False,
                _request_timeout=self._timeout,
            )
            reply = HttpReply(response.status, {}, response.data)
            response.release_conn()
        except ApiException as error:
            if not error.status:
                raise silence(ask, error) from error
            text = error.body or b""
            data = text if isinstance(text, bytes) else text.encode()
            return HttpReply(error.status, dict(error.headers or {}), data)
        except (HTTPError, OSError) as error:
            raise silence(ask, error, timeout=_late(error)) from error
        return reply

    def stream(self, path: str, query: Query, *, quiet: float = READ) -> Stream:
        """An answer that is read while it comes; `quiet`: seconds without a byte.

        Raises:
            ClusterError: it is not 2xx, or there was none.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        ask = Ask("GET", path, self.server, self.context)
        try:
            response = self._client.request(
                "get", path, query_params=list(query), header_params={"Accept": "*/*", **self._headers},
                serialize=False, _request_timeout=(CONNECT, quiet),
            )  # fmt: skip
        except ApiException as error:
            if not error.status:
                raise silence(ask, error) from error
            raise failure(ask, error.status, dict(error.headers or {}), error.body) from error
        except (HTTPError, OSError) as error:
            raise silence(ask, error, timeout=_late(error)) from error
        return Stream(response, ask)

    @property
    def configuration(self) -> Any:
        """The client's, for connections that are no requests."""
        return self._api.configuration

    def headers(self) -> dict[str, str]:
        """Who we are, as every request says it: credentials (fresh ones), impersonation, user agent."""
        settings = self.configuration.auth_settings().values()
        found = {each["key"]: each["value"] for each in settings if each["in"] == "header" and each["value"]}
        return {"User-Agent": self._api.user_agent, **found, **self._headers}

    def close(self) -> None:
        """Close the connections."""
        self._api.rest_client.pool_manager.clear()


def _late(error: Exception) -> bool:
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

    cause = getattr(error, "reason", None) or error
    refused = isinstance(cause, NewConnectionError)  # in urllib3 a kind of timeout
    return not refused and isinstance(cause, (ReadTimeoutError, ConnectTimeoutError, TimeoutError))


def bare(url: str) -> str:
    """The address without credentials and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def loopback(url: str) -> bool:
    """The address is this machine's."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"
