"""What stands in front of a Prometheus of the lab, whoever evaluates: the ways in which one fails its clients.

The failures are switches, because a scenario decides when sight is lost; a login page in front of Prometheus is
answered with 200.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs

from rollout.lab.promql.compile import compile_query, longest_range_ms
from rollout.lab.promql.errors import ExecutionError

Answer = tuple[int, str, bytes]
"""Status, content type, body."""

Parameters = Mapping[str, Sequence[str]]

JSON, TEXT, HTML = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"
_LOGIN_PAGE = b"<!doctype html><title>Sign in</title><form method=post><input name=user><input name=password></form>"


class ConnectionDropped(ConnectionError):
    """The server hangs up without an answer: whoever owns the socket closes it."""


class Outage(StrEnum):
    """Ways of being away."""

    NONE = "none"
    DROPPED = "dropped"
    UNAVAILABLE = "unavailable"


@dataclass(slots=True)
class Switches:
    """What is wrong with this Prometheus; may be changed at any time.

    Attributes:
        outage: every request is dropped, or answered with 503.
        login_page: every request gets HTML with status 200.
        longest_range_ms: a query over more than that times out (422); the range of query_range counts too.
        warnings: added to every answer, as Thanos does with a partial response.
        empty: queries succeed and find nothing.
        bearer_token: without exactly this one: 401.
        required_headers: without one of these, with this value: 403.
    """

    outage: Outage = Outage.NONE
    login_page: bool = False
    longest_range_ms: int | None = None
    warnings: list[str] = field(default_factory=list)
    empty: bool = False
    bearer_token: str | None = None
    required_headers: dict[str, str] = field(default_factory=dict)

    def refusal(self, headers: Mapping[str, str]) -> Answer | None:
        """The answer of a Prometheus that is away, or of what stands in front of it; None: ask Prometheus.

        Args:
            headers: of the request, names in any case.

        Raises:
            ConnectionDropped: the outage is of that kind.
        """
        lowered = {name.lower(): value for name, value in headers.items()}
        if self.outage is Outage.DROPPED:
            raise ConnectionDropped("the lab's Prometheus is away")
        if self.outage is Outage.UNAVAILABLE:
            return 503, TEXT, b"Service Unavailable\n"
        if self.login_page:
            return 200, HTML, _LOGIN_PAGE
        if self.bearer_token is not None and lowered.get("authorization") != f"Bearer {self.bearer_token}":
            return 401, TEXT, b"Unauthorized\n"
        if any(lowered.get(name.lower()) != value for name, value in self.required_headers.items()):
            return 403, TEXT, b"Forbidden\n"
        return None

    def refuse_long(self, text: str, span_ms: int) -> None:
        """Time out where a query covers more than `longest_range_ms`; `span_ms` is the range of a range query.

        Raises:
            ExecutionError: it does.
            BadData: the query does not parse.
        """
        limit = self.longest_range_ms
        if limit is not None and longest_range_ms(compile_query(text)) + span_ms > limit:
            raise ExecutionError("context deadline exceeded")


def parameters_of(method: str, query: str | Parameters, headers: Mapping[str, str], body: bytes) -> Parameters:
    """The form's values before the URL's, as Go merges them.

    Args:
        method: of the request.
        query: the URL's query, as text or parsed.
        headers: names in any case.
        body: a form, where the method is POST and the content type says so.
    """
    in_url = parse_qs(query, keep_blank_values=True) if isinstance(query, str) else query
    media = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if method != "POST" or media.split(";")[0].strip() != "application/x-www-form-urlencoded":
        return in_url
    in_form = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
    return {name: [*in_form.get(name, ()), *in_url.get(name, ())] for name in {*in_form, *in_url}}


def query_text(parameters: Parameters) -> str:
    """The PromQL of a request, '' without one."""
    return next(iter(parameters.get("query", ())), "")
