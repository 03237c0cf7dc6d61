"""What sidecars write to their access logs, in Istio's default formats (istio.md 13; refused callers: 6.4).

As with counters, a stretch of time in which nothing changes but the counts is kept as a function, and its lines are
made when somebody reads the log. A busy caller leaves one line a second at most, and a container keeps as many lines
as kubelet would before it rotates the file, about.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from heapq import merge
from itertools import islice

from rollout.lab.mesh.catalog import Catalog, PodView
from rollout.lab.mesh.debuglog import Ends, debug_lines, failure
from rollout.lab.mesh.instants import to_moment
from rollout.lab.mesh.listener import Answer
from rollout.lab.mesh.outcome import Side, denied_counts, grpc_counts, http_counts
from rollout.lab.mesh.pattern import Pattern
from rollout.lab.mesh.traffic import Dial, Traffic

Part = Callable[[int], int]

KEPT = 20_000
"""Lines of one container."""
_SEGMENTS = 3000
_GRAIN = 1000  # milliseconds: one line of one caller in each
_OUTSIDE = {"outside": "203.0.113.10", "kube-apiserver": "192.168.10.10", "prometheus": "10.244.9.90"}
_AGENTS = {"prometheus": "Prometheus/2.53.0", "kubelet": "kube-probe/1.34"}
_TEXT = (
    '[{start_time}] "{method} {path} {protocol}" {response_code} {response_flags} {response_code_details} '
    '{connection_termination_details} "{upstream_transport_failure_reason}" {bytes_received} {bytes_sent} {duration} '
    '{upstream_service_time} "{x_forwarded_for}" "{user_agent}" "{request_id}" "{authority}" "{upstream_host}" '
    "{upstream_cluster} {upstream_local_address} {downstream_local_address} {downstream_remote_address} "
    "{requested_server_name} {route_name}"
)
_NUMBERS = ("response_code", "bytes_received", "bytes_sent", "duration")


class Form(StrEnum):
    """MeshConfig's accessLogFile and accessLogEncoding; Istio's default profile writes none."""

    OFF = "off"
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class _Moment:
    """One call."""

    at: int

    def counts(self, times: Sequence[int]) -> list[int]:
        """See Pattern."""
        return [int(t >= self.at) for t in times]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The calls of one pair of ends within a segment of time; `part` maps the pattern's count to theirs."""

    traffic: Traffic
    dial: Dial
    pattern: Pattern
    part: Part

    def moments(self, start: int, end: int) -> Iterator[int]:
        """When they were made, newest first, in (start, end]; the first of each second stands for all of it."""
        first, last = (self.part(n) for n in self.pattern.counts((start, end)))
        return self._between(start, end, first, last)

    def _between(self, low: int, high: int, first: int, last: int) -> Iterator[int]:
        if first == last:
            return
        if low // _GRAIN == (high - 1) // _GRAIN:
            yield self._first(low, high, first)
            return
        # whole seconds, so that a later reader finds the same lines
        middle = max((low + high) // 2 // _GRAIN, low // _GRAIN + 1) * _GRAIN
        there = self.part(self.pattern.counts((middle,))[0])
        yield from self._between(middle, high, there, last)
        yield from self._between(low, middle, first, there)

    def _first(self, low: int, high: int, before: int) -> int:
        while high - low > 1:
            middle = (low + high) // 2
            if self.part(self.pattern.counts((middle,))[0]) > before:
                high = middle
            else:
                low = middle
        return high


@dataclass(slots=True)
class _Segment:
    start: int
    end: int | None = None
    stretches: list[Stretch] = field(default_factory=list)


class AccessLogs:
    """The access logs of every proxy.

    Args:
        form: what MeshConfig says.
        catalog: where addresses are looked up.
    """

    def __init__(self, form: Form, catalog: Catalog) -> None:
        """Write nothing yet."""
        self.form, self._catalog = form, catalog
        self._segments: deque[_Segment] = deque(maxlen=_SEGMENTS)
        self.debugged = False
        self.loggers: Callable[[tuple[str, str], int], frozenset[str]] = lambda _pod, _at: frozenset()
        self.identity: Callable[[PodView], str] = lambda _: ""

    @property
    def writes(self) -> bool:
        """Whether calls are to be handed to it."""
        return self.debugged or self.form is not Form.OFF

    def begin(self, now: int) -> None:
        """Start a segment of time."""
        if self.writes:
            self._segments.append(_Segment(now))

    def settle(self, now: int) -> None:
        """The segment is over; one without a call is forgotten, so that the ring holds what has lines."""
        if not self._segments or self._segments[-1].end is not None:
            return
        last = self._segments[-1]
        last.end = now
        last.stretches = [s for s in last.stretches if next(s.moments(last.start, now), None) is not None]
        if not last.stretches:
            self._segments.pop()

    def calls(self, traffic: Traffic, dial: Dial, pattern: Pattern, part: Part) -> None:
        """Calls of this segment."""
        if self._segments and self._segments[-1].end is None:
            self._segments[-1].stretches.append(Stretch(traffic, dial, pattern, part))

    def once(self, traffic: Traffic, dial: Dial, at: int) -> None:
        """Log a connection that ended at this instant."""
        if self.writes:
            stretch = Stretch(traffic, dial, _Moment(at), lambda n: n)
            self._segments.append(_Segment(at - 1, at, [stretch]))

    def lines(self, pod: tuple[str, str], now: int, since: int | None = None) -> list[tuple[datetime, str]]:
        """What a pod's proxy wrote and still keeps, oldest first."""
        found = list(islice(self._newest_first(pod, now, since), KEPT))
        return [(to_moment(at), text) for at, text in reversed(found)]

    def _newest_first(self, pod: tuple[str, str], now: int, since: int | None) -> Iterator[tuple[int, str]]:
        for segment in reversed(list(self._segments)):
            end = now if segment.end is None else segment.end
            if since is not None and end < since:
                return
            yield from merge(*self._of(pod, segment, end, since), key=lambda line: line[0], reverse=True)

    def _of(
        self, pod: tuple[str, str], segment: _Segment, end: int, since: int | None
    ) -> Iterable[Iterator[tuple[int, str]]]:
        for stretch in segment.stretches:
            for side, view in ((Side.SOURCE, stretch.dial.source), (Side.DESTINATION, stretch.dial.destination)):
                if view is None or view.key != pod or not view.proxied:
                    continue
                start = segment.start if since is None else max(segment.start, since - 1)
                yield self._written(stretch, side, start, end)

    def _written(self, stretch: Stretch, side: Side, start: int, end: int) -> Iterator[tuple[int, str]]:
        pod = stretch.dial.source if side is Side.SOURCE else stretch.dial.destination
        assert pod is not None, "a line has a pod that wrote it"
        for at in stretch.moments(start, end):
            fields = None if self.form is Form.OFF else self._fields(stretch, side, at)
            if fields is not None:
                yield at, self._line(fields)
            loggers = self.loggers(pod.key, at)
            if loggers:
                ends, time = self._ends(stretch, side, at), f"{to_moment(at):%Y-%m-%dT%H:%M:%S.%f}Z"
                yield from (
                    (at, line) for line in reversed([*debug_lines(stretch.dial, side, ends, loggers, time, at)])
                )

    def _ends(self, stretch: Stretch, side: Side, at: int) -> Ends:
        traffic, dial = stretch.traffic, stretch.dial
        source, end = dial.source, dial.destination
        mutual = dial.answer is Answer.MUTUAL_TLS and source is not None
        here = f"{end.ip if end is not None else '-'}:{dial.target.port}"
        caller = f"{self._address(traffic, dial)}:{_ephemeral(traffic, at)}"
        return Ends(
            local=here if side is Side.DESTINATION else caller,
            remote=caller if side is Side.DESTINATION else here,
            server_name=_server_name(traffic, dial).removeprefix("-"),
            identity=self.identity(source) if mutual and source is not None else "",
            method="POST" if traffic.protocol == "grpc" else "GET",
            path=traffic.path or f"/{traffic.name}",
            authority=f"{dial.target.name}.{dial.target.namespace}:{traffic.port}",
        )

    def _line(self, fields: dict[str, str]) -> str:
        if self.form is Form.TEXT:
            return _TEXT.format_map(fields)
        document = {key: int(value) if key in _NUMBERS else value for key, value in sorted(fields.items())}
        return json.dumps({key: None if value == "-" else value for key, value in document.items()})

    def _fields(self, stretch: Stretch, side: Side, at: int) -> dict[str, str] | None:
        """The line's fields; None where a proxy writes none: hanging clients, refused certificates (istio.md 6.4)."""
        traffic, dial = stretch.traffic, stretch.dial
        blank = dict.fromkeys(_FIELDS, "-") | dict.fromkeys(_NUMBERS, "0")
        blank["start_time"] = f"{to_moment(at):%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"
        if dial.answer in (Answer.HANGS, Answer.NO_CERTIFICATE):
            return None
        if side is Side.DESTINATION and dial.refusal is not None:
            return None
        if side is Side.SOURCE:
            return blank | self._outbound(traffic, dial, at)
        return blank | self._inbound(traffic, dial, at)

    def _inbound(self, traffic: Traffic, dial: Dial, at: int) -> dict[str, str]:
        pod, port = dial.destination, dial.target.port
        assert pod is not None, "an inbound line has a pod that wrote it"
        found = {
            "downstream_local_address": f"{pod.ip}:{port}",
            "downstream_remote_address": f"{self._address(traffic, dial)}:{_ephemeral(traffic, at)}",
            "requested_server_name": _server_name(traffic, dial),
        }
        if dial.answer is Answer.NO_CHAIN:
            return found | {"response_flags": "NR", "response_code_details": "filter_chain_not_found"}
        cluster = f"inbound|{port}||" if dial.target.declared else "InboundPassthroughCluster"
        found |= {
            "upstream_cluster": cluster,
            "upstream_host": f"{pod.ip}:{port}",
            "upstream_local_address": f"127.0.0.6:{_ephemeral(traffic, at + 1)}",
        }
        return found | self._call(traffic, dial, Side.DESTINATION, at)

    def _outbound(self, traffic: Traffic, dial: Dial, at: int) -> dict[str, str]:
        source = dial.source
        assert source is not None, "an outbound line has a pod that wrote it"
        host = f"{dial.target.name}.{dial.target.namespace}.svc.cluster.local"
        known = None if traffic.pod_ip else self._catalog.get("Service", dial.target.namespace, dial.target.name)
        end = dial.destination.ip if dial.destination is not None else "-"
        address = str(((known or {}).get("spec") or {}).get("clusterIP") or end)
        return {
            "upstream_cluster": "PassthroughCluster" if traffic.pod_ip else f"outbound|{traffic.port}||{host}",
            "upstream_host": f"{end}:{dial.target.port}" if dial.destination is not None else "-",
            "upstream_local_address": f"{source.ip}:{_ephemeral(traffic, at)}",
            "downstream_local_address": f"{end if address == 'None' else address}:{traffic.port}",
            "downstream_remote_address": f"{source.ip}:{_ephemeral(traffic, at + 1)}",
            **self._call(traffic, dial, Side.SOURCE, at),
        }

    def _call(self, traffic: Traffic, dial: Dial, side: Side, at: int) -> dict[str, str]:
        """What is the same in both directions."""
        if traffic.protocol == "tcp" or (dial.hello.tls and dial.answer is Answer.PLAIN):
            return {
                "bytes_received": str(traffic.bytes),
                "bytes_sent": str(traffic.bytes),
                "duration": str(traffic.lasts),
            }
        table = grpc_counts if traffic.protocol == "grpc" else http_counts
        counts = table(dial.answer, dial.hello)
        if dial.verdict is not None and not dial.verdict.allowed:
            counts = denied_counts(traffic.protocol, mutual=dial.answer is Answer.MUTUAL_TLS)
        count = next((c for c in counts if c.side is side), None)
        served = dial.served
        return {
            "method": "POST" if traffic.protocol == "grpc" else "GET",
            "path": f"/{traffic.name}?page=1&token=of-the-caller",
            "protocol": "HTTP/2" if traffic.protocol == "grpc" else "HTTP/1.1",
            "response_code": count.code if count is not None else "0",
            "response_flags": count.flags if count is not None else "-",
            "response_code_details": _details(dial, side),
            "upstream_transport_failure_reason": failure(dial, side).replace(" ", "_") or "-",
            "bytes_sent": str(traffic.bytes),
            "duration": str(traffic.lasts),
            "upstream_service_time": str(traffic.lasts) if served else "-",
            "user_agent": _AGENTS.get(traffic.caller, "Go-http-client/1.1"),
            "request_id": f"{at:032x}",
            "authority": f"{dial.target.name}.{dial.target.namespace}:{traffic.port}",
            "route_name": "default",
        }

    def _address(self, traffic: Traffic, dial: Dial) -> str:
        """The address that the server's proxy sees."""
        if dial.source is not None:
            return dial.source.ip
        if traffic.address:
            return traffic.address
        if traffic.caller == "kubelet" and dial.destination is not None:
            return self._host(dial.destination)
        return _OUTSIDE.get(traffic.caller, _OUTSIDE["outside"])

    def _host(self, pod: PodView) -> str:
        stored = self._catalog.get("Pod", *pod.key) or {}
        return str((stored.get("status") or {}).get("hostIP") or "-")


_FIELDS = (
    "start_time", "method", "path", "protocol", "response_code", "response_flags", "response_code_details",
    "connection_termination_details", "upstream_transport_failure_reason", "bytes_received", "bytes_sent", "duration",
    "upstream_service_time", "x_forwarded_for", "user_agent", "request_id", "authority", "upstream_host",
    "upstream_cluster", "upstream_local_address", "downstream_local_address", "downstream_remote_address",
    "requested_server_name", "route_name",
)  # fmt: skip


def _server_name(traffic: Traffic, dial: Dial) -> str:
    host = f"{dial.target.name}.{dial.target.namespace}.svc"
    if dial.hello.istio_alpn:
        return f"outbound_.{traffic.port}_._.{host}.cluster.local"
    return host if dial.hello.tls else "-"


def _details(dial: Dial, side: Side) -> str:
    """RESPONSE_CODE_DETAILS; blanks are underscores there (observed.md i)."""
    if dial.verdict is not None and not dial.verdict.allowed:
        denied = f"rbac_access_denied_matched_policy[{dial.verdict.policy}]"
        return denied if side is Side.DESTINATION else "via_upstream"
    if dial.served:
        return "via_upstream"
    reset = "upstream_reset_before_response_started"
    if dial.answer is Answer.SERVER_REFUSES:
        return f"{reset}{{connection_termination}}"
    reason = failure(dial, side).replace(" ", "_")
    return f"{reset}{{remote_connection_failure|{reason}}}" if reason else reset


def _ephemeral(traffic: Traffic, at: int) -> int:
    return 32768 + (at // _GRAIN * 7919 + at + sum(map(ord, traffic.name))) % 28000
