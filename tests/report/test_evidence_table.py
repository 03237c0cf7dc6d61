"""The edge table and the callers, in each format."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollout.model.callers import AccessLog, Caller, Wire
from rollout.model.traffic import Edge, Evidence, EvidenceVerdict, Family, Offender, Party, Sight, Suspect
from rollout.report.commands import Again
from rollout.report.evidence import Shown, evidence_csv, evidence_json, evidence_lines, ordered, security
from rollout.report.layout import Style, width_of

NOW = datetime(2026, 3, 2, 10, 12, tzinfo=UTC)
ORDERS = Party("production", "orders")
NOBODY = Party("unknown", "unknown")


def edge(source: Party = NOBODY, policy: str = "none", **over: Any) -> Edge:
    """To orders."""
    fields: dict[str, Any] = {
        "service": "orders.production.svc.cluster.local", "family": Family.HTTP, "volume": 112.0,
        "first": NOW - timedelta(days=7, hours=12), "last": NOW - timedelta(hours=8),
    }  # fmt: skip
    return Edge(source, ORDERS, policy=policy, **fields | over)


PLAIN = edge()
UNPROVEN = edge(Party("billing", "legacy"), "unknown", volume=5.0)
CLEAN = edge(Party("production", "web"), "mutual_tls", volume=8_984_987.0, last=NOW)


def evidence(*edges: Edge, **over: Any) -> Evidence:
    """Of production."""
    plain = [e for e in edges if not e.mutual]
    suspect = Suspect("CronJob billing/invoicer", "env ORDERS_URL: http://orders.production", "a sidecar")
    fields: dict[str, Any] = {
        "namespace": "production",
        "verdict": EvidenceVerdict.PLAINTEXT if plain else EvidenceVerdict.CLEAN,
        "start": NOW - timedelta(days=8),
        "end": NOW,
        "sight": Sight(("a", "b"), ("a", "b")),
        "edges": edges,
        "offenders": tuple(Offender(e, (suspect,)) for e in plain if not e.source.named),
    }
    return Evidence(**fields | over)


def caller(**over: Any) -> Caller:
    """A pod without a sidecar."""
    fields: dict[str, Any] = {
        "destination": "production/orders", "port": 8080, "address": "10.2.3.4", "who": "Pod billing/invoicer-x",
        "wire": Wire.PLAINTEXT, "family": Family.HTTP, "lines": 14, "refused": 0, "first": NOW, "last": NOW,
    }  # fmt: skip
    return Caller(**fields | over)


def log(*callers: Caller, **over: Any) -> AccessLog:
    """The last hour of two pods."""
    fields: dict[str, Any] = {
        "namespace": "production", "since": NOW - timedelta(hours=1), "asked": NOW, "pods": 2, "lines": 40,
        "size": 16_000, "records": 40, "callers": callers,
    }  # fmt: skip
    return AccessLog(**fields | over)


def said(shown: Shown, style: Style | None = None) -> str:
    """On one line."""
    return " ".join(" ".join(evidence_lines(shown, style or Style())).split())


def test_plaintext_first_then_unproven_then_clean() -> None:
    """Whatever the volume; `unknown` is neither proven clean nor proven plaintext."""
    assert [PLAIN, UNPROVEN, CLEAN] == ordered([CLEAN, UNPROVEN, PLAIN])
    assert ["plaintext", "unproven", "mutual TLS"] == [security(e) for e in (PLAIN, UNPROVEN, CLEAN)]


def test_the_table() -> None:
    """Ages, a Service's short name, and no column of zeros; 80 columns are enough."""
    lines = evidence_lines(Shown(evidence(CLEAN, UNPROVEN, PLAIN)), Style())
    at = next(number for number, line in enumerate(lines) if line.startswith("SOURCE"))
    expected = [
        "SOURCE          DEST    SERVICE  KIND  SECURITY    VOLUME  FIRST  LAST",
        "unknown         orders  orders   http  plaintext   112     7d12h  8h",
        "billing/legacy  orders  orders   http  unproven    5       7d12h  8h",
        "production/web  orders  orders   http  mutual TLS  9.0M    7d12h  0s",
    ]
    assert expected == lines[at : at + 4]
    assert "× production: plaintext: 3 edges, 2 plaintext, 8d; sight 2/2 proxies" == lines[0]
    assert [] == [line for line in lines if width_of(line) > 80]


def test_open_connections_have_a_column_and_narrow_screens_lose_one() -> None:
    """FIRST tells the least."""
    held = edge(Party("a-namespace-with-a-long-name", "caller"), volume=0, open=3, family=Family.TCP)
    lines = evidence_lines(Shown(evidence(held)), Style(width=90))
    top = next(line for line in lines if line.startswith("SOURCE"))
    assert ["SOURCE", "DEST", "SERVICE", "KIND", "SECURITY", "VOLUME", "LAST", "OPEN"] == top.split()
    assert " 3" == next(line for line in lines if line.startswith("a-namespace"))[-2:]


LONG = edge(Party("istio-system", "istio-ingressgateway-of-the-north"), "mutual_tls", open=6.0)


@pytest.mark.parametrize("width", [50, 60, 80])
def test_what_is_too_wide_all_the_same_has_its_source_above(width: int) -> None:
    """Nothing is cut, and nothing is wider than the terminal."""
    lines = evidence_lines(Shown(evidence(LONG, CLEAN)), Style(width=width))
    assert [] == [line for line in lines if width_of(line) > width]
    table = lines[lines.index("SOURCE") :]
    assert ["production/web", "istio-system/istio-ingressgateway-of-the-north"] == [
        line for line in table[1:] if not line.startswith(" ")
    ]
    words = " ".join(table).split()
    assert ["SOURCE", "DEST", "SERVICE", "KIND", "SECURITY", "VOLUME", "LAST", "OPEN"] == words[:8]
    assert ["orders", "orders", "http", "mutual", "TLS", "112", "8h", "6"] == words[-8:]


def test_a_pipe_gets_a_line_an_edge_with_every_column() -> None:
    """However wide: `awk` and `grep` read lines."""
    lines = evidence_lines(Shown(evidence(LONG, CLEAN)), Style(width=40), whole=True)
    top, *rows = lines[lines.index("") + 1 :]
    assert ["SOURCE", "DEST", "SERVICE", "KIND", "SECURITY", "VOLUME", "FIRST", "LAST", "OPEN"] == top.split()
    assert ["production/web", "istio-system/istio-ingressgateway-of-the-north"] == [row.split()[0] for row in rows]
    assert {10} == {len(row.split()) for row in rows}


def test_no_data_says_why_and_until_when() -> None:
    """And shows what there is."""
    found = evidence(
        CLEAN, verdict=EvidenceVerdict.NO_DATA, reason="1 of 2 proxies is scraped", covered=0.4, enough_at=NOW
    )
    text = said(Shown(found))
    assert "? production: no data: 1 of 2 proxies is scraped" in text
    assert "covered 40% of the look-back counts" in text
    assert "wait enough data at Mon 2 Mar 10:12" in text
    assert "production/web orders" in text


def test_names_are_offered_where_logs_exist() -> None:
    """The next command repeats how the cluster was reached; the suspects are shown meanwhile."""
    style = Style(again=Again(cluster=("--context kind-demo",)))
    text = said(Shown(evidence(PLAIN), None, ((PLAIN, ()),)), style)
    assert "Next: rollout evidence production --access-logs --context kind-demo" in text
    assert "suspect: CronJob billing/invoicer (env ORDERS_URL: http://orders.production)" in text
    assert "--access-logs" not in said(Shown(evidence(CLEAN)))


def test_callers_of_the_log_stand_under_their_edge() -> None:
    """With counts; what fits no edge stands behind."""
    other = caller(address="10.2.3.9", who="", lines=3, refused=3, family=None)
    text = said(Shown(evidence(PLAIN), log(caller(agents=("curl",)), other), ((PLAIN, (caller(agents=("curl",)),)),)))
    assert (
        "unknown -> production/orders, http from the access log: 14 lines from 10.2.3.4 = Pod billing/invoicer-x"
        in text
    )
    assert "user agent curl" in text
    assert "suspect" not in text
    assert (
        "Besides, without mesh TLS in the access log: to production/orders port 8080: 3 lines from 10.2.3.9, last"
        in text
    )
    assert "refused" in text


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({"who": "was Pod billing/x until 2026-03-02 02:00 UTC"}, "10.2.3.4, which was Pod billing/x until"),
        ({"who": "may be Pod a/b or Pod c/d"}, "10.2.3.4, which may be Pod a/b or Pod c/d"),
        ({"lines": 1, "who": ""}, "from the access log: 1 line from 10.2.3.4, last"),
        ({"wire": Wire.OWN_TLS}, "TLS of its own"),
        ({"refused": 4}, "4 of them refused"),
        (
            {"forwarded": True, "who": "", "address": "203.0.113.9"},
            "14 lines through a proxy that forwards for 203.0.113.9 (X-Forwarded-For)",
        ),
    ],
)
def test_what_is_said_of_a_caller(over: dict[str, Any], expected: str) -> None:
    """No more than the line tells."""
    assert expected in said(Shown(evidence(PLAIN), log(), ((PLAIN, (caller(**over),)),)))


def test_a_log_that_says_nothing() -> None:
    """Not read, not written, or not understood: each is said, and how far back the caller was."""
    text = said(Shown(evidence(PLAIN), log(unread=("2 of 4 pods",)), ((PLAIN, ()),)))
    assert "no line that was read is from it: it was last seen Mon 2 Mar 02:12, and --since 9h reaches so far" in text
    assert "not read 2 of 4 pods" in text
    assert "suspect: CronJob billing/invoicer" in text
    empty = said(Shown(evidence(PLAIN), log(records=0, foreign=7), ((PLAIN, ()),)))
    assert "Istio's default profile sets no accessLogFile" in empty
    assert "7 lines in a format that is none of Istio's defaults" in empty
    assert "--since 9h" not in empty


def test_many_other_callers_are_counted() -> None:
    """Ten of them are shown."""
    others = tuple(caller(address=f"10.2.3.{n}") for n in range(12))
    assert "and 2 more (all of them: -o json)" in said(Shown(evidence(CLEAN), log(*others)))


def test_json_is_whole_and_plain() -> None:
    """Numbers as they are, times in UTC, the table's order, no credentials."""
    secret = evidence(CLEAN, PLAIN, warnings=("see https://ana:hunter2@prometheus/",))
    document = json.loads(json.dumps(evidence_json([Shown(secret, log(caller()), ((PLAIN, (caller(),)),))])))
    (one,) = document["evidence"]
    assert ("1.0", "production", "plaintext") == (document["format_version"], one["namespace"], one["verdict"])
    first, second = one["edges"]
    assert ("unknown", "production/orders", "plaintext", 112.0) == (
        first["source"], first["destination"], first["security"], first["volume"],
    )  # fmt: skip
    assert "2026-03-02T02:12:00Z" == first["last"]
    assert ["Pod billing/invoicer-x"] == [found["who"] for found in first["access_log"]]
    assert ([], 8_984_987.0) == (second["access_log"], second["volume"])
    assert (40, 16_000) == (one["access_log"]["records"], one["access_log"]["size"])
    assert "hunter2" not in json.dumps(document)


def test_csv_has_a_row_an_edge() -> None:
    """Of all namespaces, below one head."""
    shown = [Shown(evidence(CLEAN, PLAIN), log(caller()), ((PLAIN, (caller(),)),)), Shown(evidence(edge(last=None)))]
    rows = list(csv.DictReader(io.StringIO(evidence_csv(shown))))
    assert ["plaintext", "mutual TLS", "plaintext"] == [row["security"] for row in rows]
    assert "14 from 10.2.3.4 = Pod billing/invoicer-x" == rows[0]["access_log"]
    assert ("2026-03-02T02:12:00Z", "8984987.0", "") == (rows[0]["last"], rows[1]["volume"], rows[2]["last"])
    assert "source,destination,service,family,security,volume,first,last,open,access_log" == evidence_csv([]).strip()
