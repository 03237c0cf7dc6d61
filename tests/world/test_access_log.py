"""Lines of Istio's two formats: what they say, which way they go, and what a caller sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.model.callers import Wire
from rollout.model.traffic import Family
from rollout.world.access_log import Record, logged, parse

MESH = "outbound_.8080_._.orders.production.svc.cluster.local"
AT = datetime(2026, 3, 2, 10, 0, 0, 120_000, UTC)


def text(
    *,
    request: str = "GET /a?token=s3cret HTTP/1.1",
    code: int = 200,
    flags: str = "-",
    details: str = "via_upstream",
    xff: str = "-",
    agent: str = "curl/8.5.0",
    cluster: str = "inbound|8080||",
    local: str = "10.1.0.7:8080",
    remote: str = "10.2.3.4:51324",
    name: str = "-",
) -> str:
    """A line as Istio's default format writes it."""
    return (
        f'[2026-03-02T10:00:00.120Z] "{request}" {code} {flags} {details} - "-" 0 135 3 1 "{xff}" "{agent}" '
        f'"84961386-6d84-929d-98bd-c5aee93b5c88" "orders:8080" "10.1.0.7:8080" {cluster} 127.0.0.6:41854 '
        f"{local} {remote} {name} default"
    )


def as_json(**fields: Any) -> str:
    """The same as JSON; None for what has no value, as Envoy writes it."""
    document = {
        "start_time": "2026-03-02T10:00:00.120Z",
        "method": "GET",
        "path": "/a?token=s3cret",
        "response_code": 200,
        "response_flags": "-",
        "response_code_details": "via_upstream",
        "user_agent": "curl/8.5.0",
        "upstream_cluster": "inbound|8080||",
        "downstream_local_address": "10.1.0.7:8080",
        "downstream_remote_address": "10.2.3.4:51324",
        "requested_server_name": None,
    }
    return json.dumps({**document, **fields})


def record(line: str) -> Record:
    """A line that must be understood."""
    found = parse(line)
    assert found is not None, line
    return found


def test_both_formats_say_the_same() -> None:
    """And neither keeps a path, whose query may hold secrets."""
    expected = Record(
        at=AT,
        cluster="inbound|8080||",
        local="10.1.0.7",
        port=8080,
        remote="10.2.3.4",
        family=Family.HTTP,
        agent="curl",
    )
    assert expected == record(text()) == record(as_json())
    assert "s3cret" not in repr(record(text())) + repr(record(as_json()))


@pytest.mark.parametrize(
    ("line", "wire"),
    [
        (text(), Wire.PLAINTEXT),
        (as_json(), Wire.PLAINTEXT),
        (text(name=MESH), None),
        (as_json(requested_server_name=MESH), None),
        (text(request="- - -", code=0, details="-", name="orders.production.svc"), Wire.OWN_TLS),
        (as_json(requested_server_name="orders.example.com"), Wire.OWN_TLS),
        (as_json(downstream_peer_uri_san="spiffe://cluster.local/ns/a/sa/b"), None),
        (as_json(downstream_peer_uri_san="-"), Wire.PLAINTEXT),
    ],
)
def test_what_the_caller_sent(line: str, wire: Wire | None) -> None:
    """The mesh's server name or a peer's certificate is mesh TLS, another name is TLS of its own."""
    assert wire == record(line).wire


@pytest.mark.parametrize(
    ("line", "inbound"),
    [
        (text(), True),
        (text(cluster="InboundPassthroughCluster"), True),
        (text(cluster="outbound|8080||orders.production.svc.cluster.local"), False),
        (text(cluster="PassthroughCluster"), False),
        (text(cluster="BlackHoleCluster"), False),
        (text(cluster="agent", local="10.1.0.7:15021"), False),
        (text(cluster="inbound|15021||", local="10.1.0.7:15021"), False),
        (text(cluster="prometheus_stats", local="10.1.0.7:15090"), False),
        (text(remote="127.0.0.6:51324"), False),
        (text(cluster="-", code=0, flags="NR", details="filter_chain_not_found", request="- - -"), True),
        (text(cluster="-", code=404, flags="NR", details="route_not_found"), False),
    ],
)
def test_which_lines_came_in_at_an_application(line: str, inbound: bool) -> None:
    """Calls that go out have no server name either, and health checks are nobody's calls."""
    assert inbound == record(line).inbound


def test_a_refused_caller_is_told_by_flag_and_details() -> None:
    """Both: NR alone is also a missing route."""
    line = text(request="- - -", code=0, flags="NR", details="filter_chain_not_found", cluster="-")
    assert (True, Family.TCP, Wire.PLAINTEXT) == (record(line).refused, record(line).family, record(line).wire)
    assert not record(text(code=404, flags="NR", details="route_not_found")).refused


@pytest.mark.parametrize(
    ("line", "forwarded", "remote"),
    [
        (text(), False, "10.2.3.4"),
        (text(xff="203.0.113.9", remote="203.0.113.9:0"), True, "203.0.113.9"),
        (text(xff="203.0.113.9"), False, "10.2.3.4"),
        (as_json(downstream_remote_address="203.0.113.9:0"), True, "203.0.113.9"),
        (
            as_json(downstream_remote_address="203.0.113.9:0", downstream_direct_remote_address="10.2.3.4:4711"),
            False,
            "10.2.3.4",
        ),
    ],
)
def test_an_address_from_a_header_is_not_the_callers(line: str, forwarded: bool, remote: str) -> None:
    """Envoy gives what it took from X-Forwarded-For the port 0; a direct address in the format is better."""
    assert (forwarded, remote) == (record(line).forwarded, record(line).remote)


@pytest.mark.parametrize(
    ("remote", "expected"),
    [("[fd00::4]:51324", "fd00::4"), ("[::ffff:10.2.3.4]:51324", "10.2.3.4"), ("10.2.3.4:51324", "10.2.3.4")],
)
def test_addresses_of_both_families(remote: str, expected: str) -> None:
    """A dual-stack listener sees IPv4 in IPv6's clothes; pods have it bare."""
    assert expected == record(text(remote=remote)).remote


@pytest.mark.parametrize("agent", ['evil" "x', 'quo"te', "", "-", "Mozilla/5.0 (X11; Linux) Basic c2VjcmV0"])
def test_a_header_cannot_move_the_fields_behind_it(agent: str) -> None:
    """Address and server name stand behind the last quote; of the agent nothing but a product is kept."""
    found = record(text(agent=agent))
    assert ("10.2.3.4", Wire.PLAINTEXT) == (found.remote, found.wire)
    assert "c2VjcmV0" not in found.agent


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[",
        "{}",
        "{",
        '{"start_time": 7, "downstream_remote_address": ["10.2.3.4:1"]}',
        "[1, 2]",
        text(remote="-"),
        text(remote="@/var/run/x"),
        text(local="10.1.0.7:port"),
        text(remote="10.2.3.4:²"),
        text(remote="10.2.3.4:" + "9" * 5000),
        '{"start_time": ' + "[" * 100_000,
        text().replace("2026-03-02T10:00:00.120Z", "yesterday"),
        text().replace("2026-03-02T10:00:00.120Z", "2026-03-02T10:00:00.120"),
        '[2026-03-02T10:00:00.120Z] "GET / HTTP/1.1" 200 my own format',
        "\x00" * 50,
    ],
)
def test_any_other_line_is_none(line: str) -> None:
    """Never an exception: a log holds whatever a process wrote."""
    assert parse(line) is None


@given(st.text() | st.from_regex(r'\[2026-03-02T10:00:00Z\] "[^"]*" 0 NR .*', fullmatch=True))
def test_no_text_is_a_mistake_of_ours(line: str) -> None:
    """Neither is a line of ours in which anything stands at the places that are read."""
    lines = (line, text(remote=line), text(name=line), as_json(downstream_local_address=line))
    found = [parse(one) for one in lines]
    assert {True} == {one is None or 0 <= one.port <= 99_999 for one in found}


def test_what_envoy_says_of_itself_is_no_access_log() -> None:
    """Only what looks like a line counts as one in a foreign format."""
    assert [True, True, True] == [logged(text()), logged(as_json()), logged("[2026] own format")]
    assert [] == [
        line
        for line in (
            "2026-03-02T10:00:00.1Z\tinfo\tenvoy main external/envoy/source/server/server.cc:1 starting",
            '{"level":"info","time":"2026-03-02T10:00:00Z","msg":"ready"}',
            "",
        )
        if logged(line)
    ]
