"""What a probe says beside the layers: agreement, disagreement, and what cannot be compared."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.diagnosis.calling import Call, Ended, Ending
from rollout.diagnosis.diagnose import of_call
from rollout.diagnosis.probing import Probed
from rollout.diagnosis.question import Pair
from rollout.diagnosis.telling import Seen
from rollout.model.diagnosis import Diagnosis, Layer, LayerResult
from rollout.model.finding import Status
from rollout.model.istio import MeshConfig, PeerAuthentication
from rollout.model.kubernetes import Object
from tests.diagnosis.answers import NO_ISTIOCTL, SHOP, layer, pair
from tests.diagnosis.makers import NOW, found, peers, pod, policy, rule, service

HTTP, BYTES = Call(url="http://ledger.payments.svc:80/"), Call(url="http://ledger.payments.svc:80/", http=False)
OK, DENIED = Ended(Ending.ANSWERED, 200), Ended(Ending.DENIED, 403)
CUT, RESET = Ended(Ending.TERMINATED, 503, "connection termination"), Ended(Ending.RESET, said="reset by peer")
NO_RULES: dict[str, Any] = {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/other"]}}]}


def diagnosed(*objects: Object, ends: tuple[Ended, ...] = (), asked: Pair | None = None, **case: Any) -> Diagnosis:
    """The diagnosis of a call of web-1 to ledger that was tried."""
    probed: dict[str, Any] = {"place": "pod probe in shop", "call": HTTP, "ends": ends}
    probed |= {key: case.pop(key) for key in ("why", "unlike", "call", "mutual") if key in case}
    case = {"client": SHOP, "to": service(), "servers": [pod()], **case}
    return of_call(
        asked or pair(), found(*objects, **case), Seen(), MeshConfig(), NO_ISTIOCTL, NOW, Probed(**probed)
    )  # fmt: skip


def tried(*objects: Object, **case: Any) -> LayerResult:
    """Its last layer."""
    return layer(diagnosed(*objects, **case), Layer.PROBE)


STRICT, PERMISSIVE, PLAIN = peers("STRICT"), peers("PERMISSIVE"), rule("DISABLE")
WORKS, REFUSED = "expected: will work (layer 2); probe: ", "expected: will be refused (layer 2); probe: "
BY_POLICY = "expected: will be refused (layer 5); probe: "
SURE, TOLD = "(a STRICT port takes nothing else)", "(layer 2 says so; a client cannot see it)"
UC = "503 UC (connection termination)"


@pytest.mark.parametrize(
    ("objects", "ends", "status", "line"),
    [
        ([STRICT], (OK, OK, OK), Status.OK, f"{WORKS}HTTP 200, 3 of 3 calls over mutual TLS {SURE}"),
        ([PERMISSIVE], (OK,), Status.OK, f"{WORKS}HTTP 200 over mutual TLS {TOLD}"),
        ([PERMISSIVE, PLAIN], (OK,), Status.OK, f"{WORKS}HTTP 200 in plaintext {TOLD}"),
        ([STRICT, PLAIN], (CUT, CUT), Status.OK, f"{REFUSED}{UC}, 2 of 2 calls"),
        (
            [STRICT, policy("ALLOW", NO_RULES)],
            (DENIED,),
            Status.OK,
            f"{BY_POLICY}403 RBAC: access denied over mutual TLS {SURE}",
        ),
        ([STRICT], (OK, CUT), Status.FAILED, f"{WORKS}1 of 2: HTTP 200, 1 of 2: {UC}"),
        ([STRICT], (DENIED,), Status.FAILED, f"{WORKS}403 RBAC: access denied over mutual TLS {SURE}"),
        ([STRICT, PLAIN], (OK,), Status.FAILED, f"{REFUSED}HTTP 200 over mutual TLS {SURE}"),
        ([STRICT, PLAIN], (DENIED,), Status.FAILED, f"{REFUSED}403 RBAC: access denied over mutual TLS {SURE}"),
        ([PERMISSIVE, rule("SIMPLE")], (CUT,), Status.OK, f"expected: depends (layer 2); probe: {UC}"),
    ],
)
def test_the_result_against_what_is_expected(
    objects: list[Object], ends: tuple[Ended, ...], status: Status, line: str
) -> None:
    """What a policy denied has passed by layer 2."""
    result = tried(*objects, ends=ends)
    assert (status, line) == (result.status, result.lines[0])
    assert (status is Status.FAILED) is bool(result.findings)


def test_the_servers_own_count_says_most() -> None:
    """Of answered calls, whatever layer 2 says or does not."""
    counted = "HTTP 200 over mutual TLS (so counted by the server's proxy: 1 of 1)"
    assert tried(PERMISSIVE, ends=(OK,), mutual=1).lines[0].endswith(counted)
    unread = {PeerAuthentication: "not permitted"}
    assert tried(STRICT, ends=(OK,), mutual=1, unreadable=unread).lines[0].endswith(counted)
    assert "mutual TLS" not in tried(STRICT, ends=(CUT,), mutual=1).lines[0]


def test_it_stands_in_layer_two() -> None:
    """Below the verdict; the other layers are as they were."""
    diagnosis = diagnosed(peers("STRICT"), ends=(OK,))
    verdict, beside, *_ = layer(diagnosis, Layer.POLICY).lines
    assert ("web-1.shop to ledger.payments:80: will work", "probe: HTTP 200") == (verdict, beside)
    assert list(Layer) == [result.layer for result in diagnosis.layers]
    without = diagnosed(peers("STRICT"), why="no right")
    assert not any("probe" in line for line in layer(without, Layer.POLICY).lines)


def test_a_disagreement_is_named() -> None:
    """With what the ending means, and what to do."""
    (finding,) = tried(peers("STRICT"), ends=(CUT,)).findings
    assert ("Service payments/ledger", "probe") == (str(finding.ref), finding.check)
    assert "the probe disagrees with the layers: 503 UC (connection termination)" == finding.measured
    assert "expected: will work (layer 2)" == finding.limit
    assert "--logs 60s" in finding.fix
    (other,) = tried(peers("STRICT"), rule("DISABLE"), ends=(OK,)).findings
    assert other.fix.startswith("ask again in a minute")
    cause = diagnosed(peers("STRICT"), ends=(CUT,))
    assert (Layer.PROBE, True) == (cause.cause, "the probe disagrees" in cause.sentence)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"why": "not permitted: create pods"}, "not permitted: create pods"),
        ({}, "nothing was asked"),
        ({"call": None, "why": "a gateway"}, "a gateway"),
        ({"ends": (OK,), "unlike": "got no sidecar"}, "got no sidecar"),
        ({"ends": (OK,), "why": "broken off"}, "broken off"),
        ({"ends": (Ended(Ending.UNHEALTHY, 503),)}, "503 UH: the Service has no Ready pod: nothing was tried"),
        ({"ends": (Ended(Ending.NO_CURL, said="exit status 2"),)}, "curl failed (exit status 2): curl could not make"),
        ({"ends": (RESET,), "call": BYTES}, "by an application that does not understand a line of HTTP"),
    ],
)
def test_what_cannot_be_compared(case: dict[str, Any], reason: str) -> None:
    """The layer is unknown, and says why."""
    result = tried(peers("STRICT"), **case)
    assert (Status.UNKNOWN, True, ()) == (result.status, reason in result.reason, result.findings), result.reason


def test_a_reset_of_bytes_where_a_refusal_is_expected() -> None:
    """It agrees; of HTTP it is a refusal in any case."""
    refused = [peers("STRICT"), rule("DISABLE")]
    assert Status.OK is tried(*refused, ends=(RESET,), call=BYTES).status
    assert Status.FAILED is tried(peers("STRICT"), ends=(RESET,)).status
    assert "proves nothing, so bytes were sent" in tried(*refused, ends=(RESET,), call=BYTES).lines[-1]


def test_where_layer_two_cannot_be_read() -> None:
    """The result stands for itself."""
    result = tried(peers("STRICT"), ends=(OK,), unreadable={PeerAuthentication: "not permitted"})
    assert (Status.OK, "expected: layer 2 does not tell; probe: HTTP 200") == (result.status, result.lines[0])


def test_pods_that_differ() -> None:
    """Neither word where only some answers are mutual TLS; the pod's own name where no Service is called."""
    bare = pod("ledger-2", sidecar=False, ip="10.0.0.2")
    result = tried(peers("PERMISSIVE"), ends=(OK,), servers=[pod(), bare])
    assert "expected: will work (layer 2); probe: HTTP 200" == result.lines[0]
    (finding,) = tried(peers("PERMISSIVE"), ends=(RESET,), to=None, asked=pair("8080")).findings
    assert "Pod payments/ledger-1" == str(finding.ref)
