"""A test call: what curl is asked, and what the way in which it ends says."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.diagnosis.calling import MEANINGS, SAFE, WAITS, Call, Ended, Ending, call, ended
from rollout.diagnosis.question import Pair, question
from rollout.errors import UsageError
from rollout.model.kubernetes import ServicePort
from tests.diagnosis.makers import pod, service

CUT = "upstream connect error or disconnect/reset before headers. "


def pair(**request: str) -> Pair:
    """web-1 calls ledger."""
    asked = question(source="web-1.shop", to="ledger.payments:80", **request)
    assert isinstance(asked, Pair)
    return asked


def asked(port: ServicePort, **request: str) -> Call:
    """The call to this port of the Service ledger."""
    return call(pair(**request), service(), None, port)


@pytest.mark.parametrize(
    ("port", "url", "http", "http2"),
    [
        (ServicePort(port=80, name="http"), "http://ledger.payments.svc:80/", True, False),
        (ServicePort(port=80), "http://ledger.payments.svc:80/", None, False),
        (ServicePort(port=80, name="grpc-api"), "http://ledger.payments.svc:80/", True, True),
        (
            ServicePort(port=80, name="x", app_protocol="kubernetes.io/h2c"),
            "http://ledger.payments.svc:80/",
            True,
            True,
        ),
        (ServicePort(port=443, name="https-web"), "https://ledger.payments.svc:443/", False, False),
        (ServicePort(port=443, name="tls"), "https://ledger.payments.svc:443/", False, False),
        (ServicePort(port=5432, name="tcp-db"), "http://ledger.payments.svc:5432/", False, False),
    ],
)
def test_what_is_asked_of_a_port(port: ServicePort, url: str, http: bool | None, http2: bool) -> None:
    """By what it is declared as."""
    made = asked(port)
    assert (url, "GET", http, http2) == (made.url, made.method, made.http, made.http2)


def test_a_pod_is_called_by_its_address() -> None:
    """IPv6 in brackets."""
    port = ServicePort(port=8080)
    assert "http://10.0.0.7:8080/" == call(pair(), None, pod(ip="10.0.0.7"), port).url
    assert "http://[fd00::7]:8080/" == call(pair(), None, pod(ip="fd00::7"), port).url


def test_the_request_is_the_pairs() -> None:
    """Method and path, with or without its slash."""
    made = asked(ServicePort(port=80, name="http"), method="head", path="pay?x=1")
    assert ("HEAD", "http://ledger.payments.svc:80/pay?x=1") == (made.method, made.url)
    assert asked(ServicePort(port=80), path="/a").url.endswith(":80/a")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: asked(ServicePort(port=80), method="POST"), "might change something"),
        (lambda: asked(ServicePort(port=53, protocol="UDP")), "port 53 is UDP"),
        (lambda: call(pair(), None, pod(ip=""), ServicePort(port=80)), "no address yet"),
        (lambda: call(pair(), None, None, ServicePort(port=80)), "no address yet"),
    ],
)
def test_what_is_never_called(make: Any, problem: str) -> None:
    """With the reason."""
    with pytest.raises(UsageError, match=problem):
        make()


def test_the_command() -> None:
    """No shell, no proxy of the environment's, an end in time; the address behind an option of its own."""
    plain = Call(url="http://a:80/").argv()
    assert ("curl", "--silent", "--show-error") == plain[:3]
    assert ("--url", "http://a:80/") == plain[-2:]
    assert str(WAITS) == plain[plain.index("--max-time") + 1]
    assert "*" == plain[plain.index("--noproxy") + 1]
    assert "GET" == plain[plain.index("--request") + 1]
    extra = ("--insecure", "--http0.9", "--http2-prior-knowledge", "--head")
    assert not set(extra) & set(plain)
    other = Call(url="https://a:80/", http=False, http2=True, method="HEAD").argv()
    assert set(extra) <= set(other)
    assert "--request" not in other


HTTP, BYTES, ANY = Call(url="http://a"), Call(url="http://a", http=False), Call(url="http://a", http=None)


def of(made: Call, code: int, body: str = "", said: str = "", measured: str = "000 0.1 0.0 0") -> Ended:
    """What curl gives."""
    out = f"{body}\nrollout-probe:{measured}\n" if measured else body
    return ended(made, code, out.encode(), f"curl: ({code}) {said}\n".encode() if said else b"")


@pytest.mark.parametrize(
    ("found", "expected", "shown"),
    [
        (of(HTTP, 0, "ok", measured="200 0.1 0 2"), Ending.ANSWERED, "HTTP 200"),
        (of(HTTP, 63, "big", measured="200 0.1 0 2"), Ending.ANSWERED, "HTTP 200"),
        (of(HTTP, 0, "not yours", measured="403 0.1 0 2"), Ending.ANSWERED, "HTTP 403"),
        (of(HTTP, 0, "down", measured="503 0.1 0 2"), Ending.ANSWERED, "HTTP 503"),
        (of(HTTP, 0, "RBAC: access denied", measured="403 0.1 0 19"), Ending.DENIED, "403 RBAC: access denied"),
        (
            of(HTTP, 0, f"{CUT}reset reason: connection termination", measured="503 0.1 0 9"),
            Ending.TERMINATED,
            "503 UC (connection termination)",
        ),
        (
            of(HTTP, 0, f"{CUT}retried and the latest reset reason: remote connection failure", measured="503 0 0 9"),
            Ending.FAILED,
            "503 URX,UF (remote connection failure)",
        ),
        (of(HTTP, 0, "no healthy upstream", measured="503 0.1 0 9"), Ending.UNHEALTHY, "503 UH"),
        (
            of(HTTP, 56, said="Recv failure: Connection reset by peer"),
            Ending.RESET,
            "connection reset (Recv failure: Connection reset by peer)",
        ),
        (of(HTTP, 52, said="Empty reply from server"), Ending.RESET, "connection reset (Empty reply from server)"),
        (of(HTTP, 28, said="timed out"), Ending.TIMEOUT, "timeout (timed out)"),
        (of(BYTES, 28, said="timed out", measured="000 0.0 0.0 0"), Ending.TIMEOUT, "timeout (timed out)"),
        (of(BYTES, 28, said="timed out"), Ending.SILENT, "bytes taken, no answer (timed out)"),
        (of(ANY, 28, said="timed out"), Ending.TIMEOUT, "timeout (timed out)"),
        (of(BYTES, 0, "+OK", measured="000 0.1 0 3"), Ending.ANSWERED, "bytes came back"),
        (of(ANY, 56, "+OK", said="reset", measured="000 0.1 0 3"), Ending.ANSWERED, "bytes came back"),
        (of(HTTP, 16, said="alert"), Ending.TLS, "TLS error (alert)"),
        (of(HTTP, 35, said="handshake"), Ending.TLS, "TLS error (handshake)"),
        (of(HTTP, 7, said="refused"), Ending.NOT_LISTENING, "connection refused (refused)"),
        (of(HTTP, 6, said="unknown"), Ending.NO_SUCH_HOST, "no such host (unknown)"),
        (of(HTTP, 2, said="option --x: is unknown"), Ending.NO_CURL, "curl failed (option --x: is unknown)"),
        (of(HTTP, 99, measured=""), Ending.NO_CURL, "curl failed (exit status 99)"),
        (of(HTTP, 99, measured="junk x y z"), Ending.NO_CURL, "curl failed (exit status 99)"),
    ],
)
def test_how_a_call_ends(found: Ended, expected: Ending, shown: str) -> None:
    """The proxies' own answers by their texts, the others by curl's exit status."""
    assert (expected, shown) == (found.ending, str(found))


def test_what_an_application_says_is_not_shown() -> None:
    """Its body may hold anything."""
    assert "secret" not in repr(of(HTTP, 0, "secret", measured="200 0.1 0 6"))


def test_every_ending_has_a_meaning() -> None:
    """And every one that means harm has a deed."""
    assert set(Ending) == set(MEANINGS)
    assert [] == [end for end, meaning in MEANINGS.items() if meaning.through is False and not meaning.fix]
    assert set(SAFE) == {"GET", "HEAD", "OPTIONS"}
