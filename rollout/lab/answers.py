"""What the lab's server answers beside the Kubernetes API: Prometheus' answers, faults, and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

from rollout.lab.api import Effect, Fault
from rollout.lab.api.handlers import refusal
from rollout.lab.api.http import HttpAnswer, HttpRequest, json_answer
from rollout.lab.api.routes import route
from rollout.lab.api.status import conflict, unauthorized
from rollout.lab.page import page

PROMETHEUS = "/prometheus"


class PrometheusHandler(Protocol):
    """What stands behind /prometheus."""

    def handle(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        """Answer with status, content type and body; `path` begins after /prometheus."""
        ...


def micro(moment: datetime) -> str:
    """RFC 3339 with microseconds, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def faulty(fault: Fault, request: HttpRequest) -> HttpAnswer:
    """What a fault answers instead of the server."""
    if fault.effect is Effect.OVERLOADED:
        answer = HttpAnswer(429, b"Too many requests, please try again later.\n", "text/plain; charset=utf-8")
        answer.headers += [("Retry-After", str(fault.retry_after)), ("X-Content-Type-Options", "nosniff")]
        return answer
    if fault.effect is Effect.UNAUTHORIZED:
        return refusal(unauthorized(), request)
    if fault.effect is Effect.CONFLICT:
        at = route(request)
        return refusal(conflict(at.plural, at.group, at.name), request)
    media = "application/json" if fault.body.lstrip().startswith("{") else "text/plain; charset=utf-8"
    return HttpAnswer(fault.status, fault.body.encode(), media)


def from_prometheus(handler: PrometheusHandler | None, request: HttpRequest) -> HttpAnswer:
    """What Prometheus answers, or 404 without one."""
    if handler is None:
        return json_answer(404, {"error": "this lab has no Prometheus"})
    headers = {name: values[0] for name, values in request.headers.items()}
    path = request.path.removeprefix(PROMETHEUS) or "/"
    if request.method == "GET" and path in ("/", "/graph"):
        query = {"query": [request.parameter("expr")]}
        shown = page(
            lambda _: handler.handle("GET", "/api/v1/query", query, headers, b""),
            request.parameter("expr"),
            f"{PROMETHEUS}/",
        )
        return HttpAnswer(200, shown, "text/html; charset=utf-8")
    status, media, body = handler.handle(request.method, path, request.query, headers, request.body)
    return HttpAnswer(status, body, media)
