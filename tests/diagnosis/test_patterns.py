"""What logs show: every known string of Envoy, ztunnel, clients and the API server; and what is nobody's fault."""

from __future__ import annotations

import json

import pytest

from rollout.diagnosis.known import PATTERNS
from rollout.diagnosis.patterns import DETAILS, LONGEST, SHOWN, Recogniser, clean, lines, logs, match, recognise
from rollout.model.diagnosis import PatternCount
from rollout.model.finding import Status
from rollout.model.kubernetes import Ref
from tests.diagnosis.makers import pod

TAIL = '0 95 2 - "-" "curl/8.1" "f00-1" "ledger.payments" "-" outbound|80||ledger.payments.svc.cluster.local '
TAIL += "10.0.0.9:40112 10.96.0.7:80 10.0.0.9:33554 - default"
VERIFY = "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_"
X509 = VERIFY + "X509_verify_cert:_certificate_verification_error_at_depth_0:_{}:TLS_error_end"


def access(details: str, flags: str = "URX,UF", code: int = 503, failure: str = "-") -> str:
    """A line of Istio's default text format."""
    return f'[2026-03-02T12:00:00.000Z] "GET /pay HTTP/1.1" {code} {flags} {details} - "{failure}" {TAIL}'


def alert(reason: str, code: int) -> str:
    """An older Envoy's debug line."""
    text = f"TLS error: {code}:SSL routines:OPENSSL_internal:{reason}"
    return f"2026-03-02T12:00:00.1Z\tdebug\tenvoy connection\t[C7] remote address:10.0.0.9:33554,{text}"


def tcp(flags: str, details: str = "-", failure: str = "-", remote: str = "10.0.0.9:41234") -> str:
    """A TCP connection's line in the default text format."""
    body = f'[2026-03-02T12:00:00.000Z] "- - -" 0 {flags} {details} - "{failure}" 0 0 0 - "-" "-" "-" "-" "-" - - '
    return f"{body}10.0.0.1:8080 {remote} - -"


def as_json(**fields: object) -> str:
    """A line of Istio's JSON format."""
    return json.dumps({"response_code": 503, "method": "GET", "downstream_remote_address": "10.0.0.9:33554", **fields})


def reason(name: str, code: int) -> str:
    """A TLS failure as access logs write it."""
    return f"TLS_error:|{code}:SSL_routines:OPENSSL_internal:{name}:TLS_error_end"


REMOTE = "upstream_reset_before_response_started{remote_connection_failure|"
SAN_LIST = (
    "verify SAN list, expected SANs: [spiffe://a/ns/payments/sa/ledger], certificate SANs: [spiffe://a/ns/x/sa/y]"
)
RBAC = "rbac_access_denied_matched_policy[ns[payments]-policy[deny-all]-rule[0]]"
KNOWN: list[tuple[str, str, str]] = [
    (
        "san-mismatch",
        access(REMOTE + VERIFY + "SAN_matcher,_certificate_SANs_are_[spiffe://o/ns/s/sa/w]}"),
        "seen spiffe://o/ns/s/sa/w",
    ),
    (
        "san-mismatch",
        f"TLS_error: verify cert failed: {SAN_LIST}",
        "expected spiffe://a/ns/payments/sa/ledger, seen spiffe://a/ns/x/sa/y",
    ),
    ("san-mismatch", "verify cert failed: SAN matcher", ""),
    ("certificate-expired", access("-", failure=X509.format("certificate_has_expired")), ""),
    ("certificate-expired", alert("SSLV3_ALERT_CERTIFICATE_EXPIRED", 268436501), ""),
    ("certificate-not-yet-valid", access("-", failure=X509.format("certificate_is_not_yet_valid")), ""),
    ("unknown-ca", access("-", failure=X509.format("unable_to_get_local_issuer_certificate")), ""),
    ("unknown-ca", access("-", failure=X509.format("self_signed_certificate_in_certificate_chain")), ""),
    ("unknown-ca", access("-", failure=X509.format("unable_to_verify_the_first_certificate")), ""),
    ("unknown-ca", alert("TLSV1_ALERT_UNKNOWN_CA", 268436504), ""),
    ("unknown-ca", "x509: certificate signed by unknown authority", ""),
    (
        "no-client-certificate",
        alert("PEER_DID_NOT_RETURN_A_CERTIFICATE:peer_did_not_provide_required_client_certificate", 268435648),
        "",
    ),
    ("no-client-certificate", alert("TLSV1_ALERT_CERTIFICATE_REQUIRED", 268436572), ""),
    ("no-client-certificate", "curl: (56) OpenSSL SSL_read: tlsv13 alert certificate required, errno 0", ""),
    ("certificate-rejected", alert("SSLV3_ALERT_CERTIFICATE_UNKNOWN", 268436502), ""),
    ("certificate-rejected", alert("SSLV3_ALERT_BAD_CERTIFICATE", 268436498), ""),
    ("certificate-missing", access(REMOTE + "TLS_error:_Secret_is_not_supplied_by_SDS}"), ""),
    ("certificate-verify-failed", f"TLS_error:|268435581:{VERIFY}no such check:TLS_error_end", "no such check"),
    ("certificate-verify-failed", "upstream failure 268435581 and no more", ""),
    ("protocol-version", alert("UNSUPPORTED_PROTOCOL", 268435696), ""),
    ("protocol-version", alert("TLSV1_ALERT_PROTOCOL_VERSION", 268436526), ""),
    ("cipher-mismatch", alert("NO_SHARED_CIPHER", 268435640), ""),
    ("cipher-mismatch", alert("SSLV3_ALERT_HANDSHAKE_FAILURE", 268436496), ""),
    ("filter-chain-not-found", tcp("NR", "filter_chain_not_found"), "10.0.0.9"),
    ("filter-chain-not-found", tcp("NR", "filter_chain_not_found", remote="[fd00::9]:41234"), "fd00::9"),
    ("filter-chain-not-found", tcp("NR", "filter_chain_not_found", reason("HTTP_REQUEST", 268435612)), "10.0.0.9"),
    (
        "filter-chain-not-found",
        as_json(response_flags="NR", response_code_details="filter_chain_not_found", response_code=0),
        "10.0.0.9",
    ),
    (
        "filter-chain-not-found",
        as_json(response_flags="NR", response_code_details="filter_chain_not_found", downstream_remote_address=None),
        "",
    ),
    (
        "filter-chain-not-found",
        "debug envoy conn_handler closing connection from 10.0.0.9:33554: no matching filter chain found",
        "10.0.0.9",
    ),
    ("wrong-version-number", access(REMOTE + reason("WRONG_VERSION_NUMBER", 268435703)), ""),
    ("wrong-version-number", tcp("UF,URX", failure=reason("UNEXPECTED_MESSAGE", 268435679)), ""),
    (
        "wrong-version-number",
        "curl: (35) error:0A00010B:SSL routines::wrong version number",
        "",
    ),
    (
        "wrong-version-number",
        "curl: (35) OpenSSL/1.1.1: error:1408F10B:SSL routines:ssl3_get_record:wrong version number",
        "",
    ),
    ("plaintext-to-tls", alert("HTTP_REQUEST", 268435612), ""),
    ("plaintext-to-tls", "TLS_error:|268435612:SSL_routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end", ""),
    ("plaintext-to-tls", alert("HTTPS_PROXY_REQUEST", 268435611), ""),
    ("rbac-denied", access(RBAC, "-", 403), "ns[payments]-policy[deny-all]-rule[0]"),
    ("rbac-denied", access("rbac_access_denied_matched_policy[none]", "-", 403), "none"),
    (
        "rbac-denied",
        "debug envoy rbac enforced denied, matched policy ns[payments]-policy[deny_all]-rule[1]",
        "ns[payments]-policy[deny_all]-rule[1]",
    ),
    ("rbac-denied", "debug envoy rbac enforced denied, matched policy none", "none"),
    ("rbac-denied", "RBAC: access denied", ""),
    (
        "config-rejected",
        "warn lds: listener 'virtualInbound' config rejected: same matching rules",
        "same matching rules",
    ),
    ("config-rejected", "config for type.googleapis.com/Listener rejected: bad", "bad"),
    (
        "webhook-refused",
        'Internal error occurred: failed calling webhook "check.ledger.io": Post "https://x": EOF',
        "check.ledger.io",
    ),
    ("webhook-refused", r'msg="failed calling webhook \"check.ledger.io\": x509: unknown"', "check.ledger.io"),
    ("probe-refused", 'Readiness probe failed: Get "http://10.0.0.1:8080/": read tcp: connection reset by peer', ""),
    ("upstream-cut", access("upstream_reset_after_response_started{protocol_error}", "UPE", 200), ""),
    ("upstream-cut", access("downstream_local_disconnect(filter_chain_is_being_removed)", "DC", 0), ""),
    (
        "upstream-cut",
        tcp("DC", "downstream_local_disconnect(purging_socket_that_have_not_progressed_to_connections)"),
        "",
    ),
    (
        "connection-termination",
        access("upstream_reset_before_response_started{connection_termination}", "UC"),
        "outbound|80||ledger.payments.svc.cluster.local",
    ),
    (
        "connection-termination",
        as_json(
            response_flags="UC",
            response_code_details="upstream_reset_before_response_started{connection_termination}",
            upstream_cluster="PassthroughCluster",
        ),
        "PassthroughCluster",
    ),
    ("connection-termination", "upstream connect error … before headers. reset reason: connection termination", ""),
    (
        "connection-failure",
        access("upstream_reset_before_response_started{connection_failure,delayed}", "UF"),
        "outbound|80||ledger.payments.svc.cluster.local",
    ),
    (
        "connection-failure",
        access("upstream_reset_before_response_started{remote_connection_failure}", "URX,UF"),
        "outbound|80||ledger.payments.svc.cluster.local",
    ),
    ("connection-failure", "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: deadline", ""),
    ("connection-failure", "retried and the latest reset reason: remote connection failure", ""),
    ("no-healthy-upstream", access("no_healthy_upstream", "UH"), ""),
    ("ztunnel-policy", "connection closed due to policy rejection: explicitly denied by: x/istio_converted", ""),
    ("ztunnel-policy", "connection closed due to policy change", ""),
    ("tcp-reset", tcp("UR"), ""),
    ("tcp-reset", tcp("UF,UR"), ""),
    ("tcp-reset", as_json(response_flags="UR"), ""),
    ("tcp-reset", "Error: read ECONNRESET", ""),
    ("tcp-reset", "curl: (52) Empty reply from server", ""),
    ("tcp-reset", "curl: (56) Recv failure: Connection reset by peer", ""),
]


@pytest.mark.parametrize(("known", "line", "what"), KNOWN)
def test_a_known_line(known: str, line: str, what: str) -> None:
    """Named, counted, with what varies and an example; also behind what kubectl puts before a line."""
    for prefix in ("", "2026-03-02T12:00:01.5Z ", "[pod/ledger-1/istio-proxy] "):
        found = recognise([f"{prefix}{line}", "", "info nothing"])
        assert 3 == found.lines
        assert [(known, 1)] == [(pattern.id, pattern.count) for pattern in found.patterns]
        assert ([(what, 1)] if what else []) == list(found.patterns[0].details)
        assert found.patterns[0].example.startswith(prefix)


def test_every_pattern_is_shown_by_a_line() -> None:
    """None that nothing matches, each id once, each with words for people."""
    assert {pattern.id for pattern in PATTERNS} == {row[0] for row in KNOWN}
    assert len(PATTERNS) == len({pattern.id for pattern in PATTERNS})
    assert all(pattern.title and pattern.meaning and pattern.fix and pattern.says.hints for pattern in PATTERNS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        access("via_upstream", "-", 200),
        access("route_not_found", "NR", 404),
        # Envoy leaves the inspector's error on plaintext that it accepted.
        tcp("-", failure=reason("WRONG_VERSION_NUMBER", 268435703)),
        as_json(response_flags="-", failure="TLS_error:|268435612:SSL:OPENSSL_internal:HTTP_REQUEST:TLS_error_end"),
        'http_request_duration_seconds{path="/"} 1.5',
        "info the http_request is over; a wrong version of the number; certificate renewed",
        '"response_flags" without an object',
        '{"response_flags": ["UR"]}',
        "curl was here, ur, too",
        "asked whether its certificate has expired? no",
        "the file has a wrong version number",
        "info cache generated new workload certificate, latency=50ms ttl=23h59m59s",
    ],
)
def test_a_line_that_says_nothing_of_it(line: str) -> None:
    """No alarm."""
    assert match(line) is None


def test_the_likeliest_comes_first_and_a_line_counts_once() -> None:
    """Order of precedence, not of appearance; details by their number."""
    text = [tcp("UR"), *[tcp("NR", "filter_chain_not_found", remote=f"10.0.0.{n}:1") for n in (9, 8, 8)]]
    found = recognise(text)
    assert [("filter-chain-not-found", 3), ("tcp-reset", 1)] == [(p.id, p.count) for p in found.patterns]
    assert (("10.0.0.8", 2), ("10.0.0.9", 1)) == found.patterns[0].details


SECRET = "hunter2-very-secret"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.abc-DEF"


@pytest.mark.parametrize(
    "line",
    [
        f'"GET /pay?token={SECRET} HTTP/1.1" 503 UC',
        f"Authorization: Bearer {SECRET}",
        f"calling https://user:{SECRET}@ledger.payments/x",
        f'{{"path": "/x?key={SECRET}"}}',
        f'{{"password": "{SECRET}"}}',
        f"api_key={SECRET} rest",
        f"-----BEGIN RSA PRIVATE KEY-----{SECRET}",
        f"-----BEGIN PRIVATE KEY-----{SECRET}-----END PRIVATE KEY----- rest",
        f"cookie='{SECRET}'",
    ],
)
def test_secrets_are_cut_out(line: str) -> None:
    """In examples, before anybody prints them."""
    found = recognise([f"connection reset by peer {line} {JWT}"])
    shown = repr(found)
    assert SECRET not in shown
    assert JWT not in shown
    assert "***" in found.patterns[0].example


def test_secrets_are_cut_out_of_details() -> None:
    """The words of a reason as well."""
    found = recognise([f"lds: x config rejected: https://u:{SECRET}@host is no address"])
    assert SECRET not in repr(found)


def test_an_example_is_short() -> None:
    """And says that it was cut."""
    assert SHOWN + 1 == len(clean("connection reset by peer " + "x" * 1000))
    assert clean("x" * SHOWN) == "x" * SHOWN


def test_many_callers_are_not_all_kept() -> None:
    """Their lines count."""
    text = [tcp("NR", "filter_chain_not_found", remote=f"10.0.{n}.1:1") for n in range(50)]
    found = recognise(text).patterns[0]
    assert (50, DETAILS, 30) == (found.count, len(found.details), found.more)


def test_lines_of_a_stream() -> None:
    """Ends are cut, the tail of a long line is left out, what is no UTF-8 is replaced."""
    import io

    long = b"y" * LONGEST
    text = b"one\r\n\xff two\n" + long + b"tail\n" + long[:-1] + b"\nlast"
    assert ["one", "\ufffd two", long.decode(), long[:-1].decode(), "last"] == list(lines(io.BytesIO(text)))


LEDGER = Ref("Pod", "payments", "ledger-1")


def test_the_layer() -> None:
    """A caller's address becomes a pod's name where one has it."""
    text = [tcp("NR", "filter_chain_not_found"), tcp("NR", "filter_chain_not_found", remote="10.0.0.8:1")]
    result = logs(
        {LEDGER: recognise(text)}, [pod(), pod("web-1", "shop", sidecar=False, ip="10.0.0.9"), pod("x-1", ip="")]
    )
    assert Status.FAILED is result.status
    assert ("Pod payments/ledger-1: 2 lines, 1 known patterns",) == result.lines
    assert {"Pod shop/web-1: 1", "10.0.0.8: 1"} <= set(result.findings[0].where)


def test_noise_of_a_drain_is_no_failure() -> None:
    """Shown all the same."""
    cut = access("upstream_reset_after_response_started{protocol_error}", "UPE", 200)
    result = logs({LEDGER: recognise([cut])}, [])
    assert (Status.OK, 1) == (result.status, len(result.findings))


def test_a_log_that_cannot_be_read() -> None:
    """A sentence; the other pods' logs are read."""
    other = Ref("Pod", "payments", "ledger-2")
    third = Ref("Pod", "payments", "ledger-3")
    calm = recognise(["info"])
    result = logs({LEDGER: "exec is forbidden", other: "the connection broke", third: calm}, [])
    assert Status.UNKNOWN is result.status
    assert result.reason == ("Pod payments/ledger-1: exec is forbidden; Pod payments/ledger-2: the connection broke")
    assert ("Pod payments/ledger-3: 1 lines, 0 known patterns",) == result.lines
    assert (Status.OK, "") == (logs({third: calm}, []).status, logs({third: calm}, []).reason)
    assert Status.UNKNOWN is logs({}, []).status


def test_a_log_that_was_too_fast() -> None:
    """What was not read of it is said."""
    result = logs({LEDGER: recognise(["info"])}, [], cut=[LEDGER])
    assert ("Pod payments/ledger-1: 1 lines, 0 known patterns; the newest came too fast to be read",) == result.lines


def test_lines_one_by_one() -> None:
    """The first line of a pattern tells it; the counts are those of the whole."""
    recogniser = Recogniser()
    told = [recogniser.add(line) for line in ("info", tcp("UR"), tcp("UR"), "", tcp("NR", "filter_chain_not_found"))]
    assert [None, "tcp-reset", None, None, "filter-chain-not-found"] == [each and each.id for each in told]
    assert recogniser.result() == recognise(["info", tcp("UR"), tcp("UR"), "", tcp("NR", "filter_chain_not_found")])
    assert (5, [1, 2]) == (recogniser.result().lines, [pattern.count for pattern in recogniser.result().patterns])


def test_a_count_is_a_value() -> None:
    """For reports."""
    assert PatternCount(id="x", title="t", meaning="m", fix="f", count=1, example="e").details == ()
