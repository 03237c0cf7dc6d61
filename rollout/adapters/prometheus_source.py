"""Two ways to Prometheus: its own address, and the API server's service proxy (no port-forward needed)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from rollout.adapters.failures import parse
from rollout.adapters.prometheus import PrometheusMetrics, Reply
from rollout.adapters.retry import Sleep
from rollout.errors import MetricsRefused, MetricsUnreachable, Unreachable, UsageError

#: Seconds without a byte, of one query at a URL.
TIMEOUT = 30.0
RawReply = Callable[[str, Sequence[tuple[str, str]]], tuple[int, bytes]]
THANOS = {"dedup": "true", "max_source_resolution": "0s", "partial_response": "true"}
_SERVICE = re.compile(
    r"(?:(?P<scheme>https?):)?(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+):(?P<port>[a-z0-9-]+)(?P<prefix>/\S*)?"
)


def connect_metrics(
    address: str,
    *,
    sleep: Sleep,
    raw_reply: RawReply | None = None,
    bearer_token: str | Callable[[], str] = "",
    ca_file: str = "",
    verify: bool = True,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    history: bool = False,
) -> PrometheusMetrics:
    """Prometheus at a URL, or (through the API server) at `SERVICE.NAMESPACE:PORT`.

    Args:
        address: `https://user:password@host/prefix`, or `[https:]SERVICE.NAMESPACE:PORT[/prefix]`.
        sleep: waits between tries.
        raw_reply: the cluster's `raw_reply`, for the second form.
        bearer_token: or how to read one that is renewed; for a URL only, the API server would take it for its own.
        ca_file: PEM file of the authority to trust, '' for the usual ones.
        verify: False accepts any certificate.
        headers: sent with every request, such as X-Scope-OrgID.
        timeout: seconds without a byte.
        history: it may be a Thanos Querier, which is asked for raw, deduplicated samples, and says in a warning which
            store is missing; Prometheus passes over such parameters.

    Raises:
        UsageError: it is neither form.
    """
    more = THANOS if history else {}
    if re.match(r"https?://[^/]", address):
        from rollout.adapters.prometheus_direct import DirectSource

        trust = ca_file or verify
        direct = DirectSource(address, bearer_token=bearer_token, verify=trust, headers=headers or {}, timeout=timeout)
        return PrometheusMetrics(direct, sleep, more)
    return PrometheusMetrics(_behind_service(address, raw_reply), sleep, more)


def _behind_service(address: str, raw_reply: RawReply | None) -> ServiceSource:
    match = _SERVICE.fullmatch(address)
    if match is None or raw_reply is None:
        raise UsageError(
            f"{address.rpartition('@')[2]!r} is no address of a Prometheus",
            limit="http://HOST:PORT, https://HOST/PREFIX or SERVICE.NAMESPACE:PORT",
            where="--prometheus",
        )
    return ServiceSource(raw_reply, **match.groupdict(default=""))


class ServiceSource:
    """Prometheus behind a Service, through the API server."""

    def __init__(self, raw_reply: RawReply, *, scheme: str, name: str, namespace: str, port: str, prefix: str) -> None:
        """Nothing is sent yet."""
        self._get = raw_reply
        self._address = f"{scheme + ':' if scheme else ''}{name}.{namespace}:{port}{prefix.rstrip('/')}"
        service = f"{scheme}:{name}:{port}" if scheme else f"{name}:{port}"
        self._root = f"/api/v1/namespaces/{namespace}/services/{service}/proxy{prefix.rstrip('/')}"

    def address(self) -> str:
        """`prometheus.istio-system:9090`, as it was given."""
        return self._address

    def fetch(self, endpoint: str, params: dict[str, str], limit: float | None = None) -> Reply:  # noqa: ARG002
        """Ask once; the time limit is the cluster's.

        The API server's own refusals are Status objects; everything else is Prometheus' answer.
        """
        try:
            status, body = self._get(f"{self._root}/api/v1/{endpoint}", tuple(params.items()))
        except Unreachable as error:
            raise MetricsUnreachable(
                error.problem, where=f"{self._address}, through the API server", next=error.next
            ) from error
        said = parse(body.decode(errors="replace")) if status >= 300 else None
        if said is None or said.kind != "Status":
            return Reply(status, body)
        problem = f"the way through the API server is barred: {said.message or said.reason} ({status})"
        if status in (401, 403):
            deed = "have `get services/proxy` granted, or give Prometheus' URL"
            raise MetricsRefused(problem, where=f"{self._address}, through the API server", next=deed)
        raise MetricsUnreachable(
            problem, where=f"{self._address}, through the API server", next="check service, namespace and port"
        )

    def close(self) -> None:
        """The connections are the cluster's."""
