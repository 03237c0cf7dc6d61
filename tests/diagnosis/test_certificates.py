"""Layer 3: shapes, chains, identities, lives and roots; and that no private key goes anywhere."""

from __future__ import annotations

import base64
import builtins
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from rollout.diagnosis.certificates import certificates
from rollout.diagnosis.conclusion import conclude
from rollout.diagnosis.diagnose import of_call
from rollout.diagnosis.patterns import recognise
from rollout.diagnosis.question import Pair, question
from rollout.diagnosis.telling import NOBODY, NOT_ASKED, Seen, ask_proxies
from rollout.errors import Outcome, RolloutError
from rollout.mesh.certificates import Side, expected
from rollout.mesh.secrets import Held, Summary, held, pem, summary
from rollout.model.diagnosis import Layer, LayerResult
from rollout.model.finding import Severity, Status
from rollout.model.istio import MeshConfig, Mode
from rollout.model.kubernetes import ConfigMap, Ref
from rollout.ports import InboundChain
from rollout.report.diagnosis import diagnosis, diagnosis_json
from rollout.report.layout import Style
from tests.diagnosis.makers import NOW, found, peers, pod, service
from tests.diagnosis.pki import DAY, LEDGER, WEB, Authority, certs, listed, secrets

MESH = MeshConfig()
SERVER, CLIENT = pod(), pod("web-1", "shop", ip="10.0.0.9")
ROOT = Authority()
FOREIGN = Authority("another root")
MIDDLE = Authority("intermediate", ROOT)


def side(
    *chain: bytes, root: Authority | None = ROOT, mesh_root: Authority | None = ROOT, more: Iterable[Authority] = ()
) -> Side:
    """The server's side; `more` are roots beside the first."""
    roots = (*((root.pem.strip(),) if root else ()), *(each.pem.strip() for each in more))
    return Side(
        pod=SERVER,
        held=Held(chain=tuple(block.strip() for block in chain), roots=roots),
        mesh_root=(mesh_root.pem.strip(),) if mesh_root else None,
    )


def judge(*sides: Side) -> LayerResult:
    """The layer at noon."""
    return certificates(sides, MESH, NOW)


def test_a_certificate_that_is_in_order() -> None:
    """Identity, life, issuer and root are told."""
    result = judge(side(ROOT.leaf(LEDGER)[0]))
    assert (Status.OK, (), "") == (result.status, result.findings, result.reason)
    assert result.lines[0] == f"Pod payments/ledger-1: {LEDGER}; valid until 2026-03-03 06:00:00Z, 75% of its life left"
    assert result.lines[1].startswith("Pod payments/ledger-1: chain of 1, issuer O=root; roots O=root (")


def test_chains_that_are_in_order() -> None:
    """An intermediate between, and a root that stands at the end of its own chain."""
    leaf = MIDDLE.leaf(LEDGER)[0]
    assert Status.OK is judge(side(leaf, MIDDLE.pem)).status
    assert Status.OK is judge(side(leaf, MIDDLE.pem, ROOT.pem)).status


def test_what_is_left_of_a_life_that_has_not_begun_is_not_said() -> None:
    """There is no such share."""
    line = judge(side(ROOT.leaf(LEDGER, since=NOW + DAY)[0])).lines[0]
    assert "valid until" in line
    assert "left" not in line


LATER = Authority("late", ROOT, until=NOW - DAY)
FAULTS: list[tuple[str, Side, str, str, Severity]] = [
    ("expired", side(ROOT.leaf(LEDGER, since=NOW - 2 * DAY)[0]),
     "certificate, not after", "expired at 2026-03-01 12:00:00Z", Severity.BLOCKING),
    ("to come", side(ROOT.leaf(LEDGER, since=NOW + DAY)[0]),
     "certificate, not before", "2026-03-03 12:00:00Z, which is to come", Severity.BLOCKING),
    ("not renewed", side(ROOT.leaf(LEDGER, since=NOW - DAY * 0.8)[0]),
     "certificate, not after", "20% of its life left", Severity.BLOCKING),
    ("renewed late", side(ROOT.leaf(LEDGER, since=NOW - DAY * 0.6)[0]),
     "certificate, not after", "40% of its life left", Severity.WARNING),
    ("another account", side(ROOT.leaf("spiffe://cluster.local/ns/payments/sa/other")[0]),
     "certificate, SAN", "spiffe://cluster.local/ns/payments/sa/other", Severity.BLOCKING),
    ("two names", side(ROOT.leaf(LEDGER, WEB)[0]), "certificate, SAN", f"{LEDGER}, {WEB}", Severity.BLOCKING),
    ("no name", side(ROOT.leaf(san=False)[0]), "certificate, SAN", "no URI SAN", Severity.BLOCKING),
    ("wrong order", side(MIDDLE.leaf(LEDGER)[0], ROOT.pem, MIDDLE.pem),
     "certificate, chain", "the leaf is not signed by O=root", Severity.BLOCKING),
    ("an intermediate is missing", side(MIDDLE.leaf(LEDGER)[0]),
     "certificate, chain", "ends at O=intermediate, which none of its own roots signed", Severity.BLOCKING),
    ("an intermediate expired", side(LATER.leaf(LEDGER)[0], LATER.pem),
     "certificate, chain", "O=late in it expired at 2026-03-01", Severity.BLOCKING),
    ("no root", side(ROOT.leaf(LEDGER)[0], root=None),
     "certificate, root", "the proxy holds no root", Severity.BLOCKING),
    ("another root than the mesh's", side(FOREIGN.leaf(LEDGER)[0], root=FOREIGN),
     "certificate, root", "O=another root (", Severity.BLOCKING),
    ("one of two roots", side(ROOT.leaf(LEDGER)[0], more=[FOREIGN]),
     "certificate, root", "2 roots, 1 of them in istio-ca-root-cert", Severity.WARNING),
]  # fmt: skip


@pytest.mark.parametrize(
    ("faulty", "field", "measured", "severity"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_a_fault(faulty: Side, field: str, measured: str, severity: Severity) -> None:
    """Named with its place, and with a fix."""
    result = judge(faulty)
    named = [f for f in result.findings if f.field == field and measured in f.measured and f.severity is severity]
    assert 1 == len(named), result.findings
    assert named[0].fix == "kubectl rollout restart statefulset/ledger -n payments"
    assert (Status.FAILED if severity is Severity.BLOCKING else Status.OK) is result.status


@pytest.mark.parametrize(
    ("until", "measured", "severity"),
    [
        (NOW - DAY, "expired at 2026-03-01", Severity.BLOCKING),
        (NOW + 10 * DAY, "expires at 2026-03-12", Severity.WARNING),
    ],
)
def test_a_root_that_ends(until: Any, measured: str, severity: Severity) -> None:
    """Ten years is usual; a month is a warning."""
    ending = Authority("ending", until=until)
    result = judge(side(ending.leaf(LEDGER)[0], root=ending, mesh_root=ending))
    assert [(True, severity)] == [(measured in f.measured, f.severity) for f in result.findings]


def test_the_two_sides_against_each_other() -> None:
    """Each refuses the other's certificate; what only one side tells is not compared."""
    server = side(ROOT.leaf(LEDGER)[0], mesh_root=None)
    client = Side(
        pod=CLIENT, held=Held(chain=(FOREIGN.leaf(WEB)[0].strip(),), roots=(FOREIGN.pem.strip(),)), mesh_root=None
    )
    result = judge(client, server)
    assert [("Pod shop/web-1", "O=another root"), ("Pod payments/ledger-1", "O=root")] == [
        (str(finding.ref), finding.measured) for finding in result.findings
    ]
    assert "503 UC where the server does" in result.findings[0].where[0]
    rootless = Side(pod=CLIENT, held=Held(chain=(ROOT.leaf(WEB)[0].strip(),)), mesh_root=None)
    one_way = judge(rootless, server)
    assert ["certificate, root"] == [finding.field for finding in one_way.findings]


def test_who_left_the_meshs_root_is_named_and_nobody_else() -> None:
    """The others refuse it as well, and to restart them would mend nothing."""
    gone = side(FOREIGN.leaf(LEDGER)[0], root=FOREIGN)
    client = Side(
        pod=CLIENT, held=Held(chain=(ROOT.leaf(WEB)[0].strip(),), roots=(ROOT.pem.strip(),)), mesh_root=gone.mesh_root
    )
    result = judge(client, gone)
    assert [("Pod payments/ledger-1", "certificate, root")] == [(str(f.ref), f.field) for f in result.findings]
    assert result.findings[0].where == (
        "it refuses the certificates of its mesh: 503 URX,UF as a client; as a server, 503 UC at its clients",
    )


def test_what_a_proxy_does_not_tell() -> None:
    """One side's silence leaves the other's finding."""
    silent = Side(pod=CLIENT, held="exec is forbidden")
    result = judge(silent, side(ROOT.leaf(LEDGER, since=NOW - 2 * DAY)[0]))
    assert (Status.FAILED, "Pod shop/web-1: exec is forbidden") == (result.status, result.reason)
    for told, reason in (
        (Held(), "it holds no certificate"),
        (Held(warming=True), "its certificate has not come yet"),
        (Summary(), "/certs names no certificate of the workload"),
    ):
        unknown = judge(Side(pod=SERVER, held=told))
        assert (Status.UNKNOWN, f"Pod payments/ledger-1: {reason}") == (unknown.status, unknown.reason)
    assert (Status.UNKNOWN, "no pod with a sidecar is asked about") == (judge().status, judge().reason)


def test_a_certificate_that_does_not_parse() -> None:
    """A sentence, the layer unknown; the other side goes on."""
    junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    result = judge(side(junk), Side(pod=CLIENT, held=Held(chain=(ROOT.leaf(WEB)[0],), roots=(ROOT.pem,))))
    assert Status.UNKNOWN is result.status
    assert result.reason.startswith("Pod payments/ledger-1: a certificate does not parse")
    assert any(line.startswith("Pod shop/web-1: spiffe://") for line in result.lines)


def test_without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown, with what to install; /certs needs no package."""
    real = builtins.__import__

    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **options)

    ledger = side(ROOT.leaf(LEDGER)[0])
    monkeypatch.setattr(builtins, "__import__", refuse)
    result = judge(ledger)
    assert (Status.UNKNOWN, True) == (result.status, "pip install 'rollout[certificates]'" in result.reason)
    told = judge(Side(pod=SERVER, held=summary(certs())))
    assert "chain and root are not proven" in told.reason


def test_what_certs_tell() -> None:
    """Identity and life; the layer stays unknown, because nothing proves chain and root."""
    fine = judge(Side(pod=SERVER, held=summary(certs())))
    assert (Status.UNKNOWN, ()) == (fine.status, fine.findings)
    assert (
        "Pod payments/ledger-1: valid until 2026-03-03 06:00:00Z, 75% of its life left; /certs shows no chain",
    ) == (fine.lines)
    wrong = judge(Side(pod=SERVER, held=summary(certs(WEB, until=NOW))))
    assert ["certificate, SAN", "certificate, not after"] == [finding.field for finding in wrong.findings]
    assert Status.FAILED is wrong.status
    timeless = json.dumps({"certificates": [{"cert_chain": [listed(LEDGER, NOW, NOW)]}]}).encode()
    assert "valid until 2026-03-02 12:00:00Z; /certs" in judge(Side(pod=SERVER, held=summary(timeless))).lines[0]


def test_the_identity_of_a_service_account() -> None:
    """With the mesh's own trust domain; the default account where none is named."""
    assert LEDGER == expected(SERVER, MESH)
    bare = pod(spec={"serviceAccountName": ""})
    assert "spiffe://corp.example/ns/payments/sa/default" == expected(bare, MeshConfig(trust_domain="corp.example"))


@pytest.mark.parametrize("inline", ["bytes", "string"])
@pytest.mark.parametrize("camel", [True, False], ids=["istioctl", "config_dump"])
def test_the_shapes_of_secrets(camel: bool, inline: str) -> None:
    """camelCase and snake_case, base64 and text: the same certificates."""
    leaf, key = MIDDLE.leaf(LEDGER)
    told = held(secrets(leaf + MIDDLE.pem, ROOT.pem + ROOT.pem, camel=camel, inline=inline, key=key))
    assert (pem(leaf)[0], pem(MIDDLE.pem)[0]) == told.chain
    assert pem(ROOT.pem) == told.roots
    assert not told.warming


def test_a_certificate_that_is_on_its_way() -> None:
    """istioctl and Envoy show it as warming."""
    for name in ("dynamicWarmingSecrets", "dynamic_warming_secrets"):
        told = held(json.dumps({name: [{"name": "default"}]}).encode())
        assert Held(warming=True) == told
    assert Held() == held(b'{"dynamic_warming_secrets": [{"name": "ROOTCA"}]}')


@pytest.mark.parametrize(
    "text",
    [b"", b"not json", b"[]", b'{"configs": 7}', b"\xff\xfe", b'{"dynamic_active_secrets": [{"name": 5}]}'],
)
def test_an_answer_that_is_no_config_dump(text: bytes) -> None:
    """A sentence, without the text."""
    with pytest.raises(RolloutError) as caught:
        held(text)
    assert (Outcome.CANNOT_SEE, "what the proxy answered is no JSON of Envoy's secrets") == (
        caught.value.outcome,
        caught.value.problem,
    )


@pytest.mark.parametrize("text", [b"", b"{}", b'{"certificates": [{"cert_chain": [{"valid_from": 1}]}]}'])
def test_an_answer_that_is_no_certs(text: bytes) -> None:
    """A sentence."""
    with pytest.raises(RolloutError, match="is no JSON of Envoy's /certs"):
        summary(text)


def test_a_chain_that_is_no_base64() -> None:
    """A sentence that does not repeat it."""
    certificate = {"certificate_chain": {"inline_bytes": "%%%hunter2"}}
    text = json.dumps({"dynamic_active_secrets": [{"name": "default", "secret": {"tls_certificate": certificate}}]})
    with pytest.raises(RolloutError, match="holds a certificate that is no base64") as caught:
        held(text.encode())
    assert "hunter2" not in "".join(caught.value.lines())
    assert caught.value.__cause__ is None


class Telling:
    """Proxies that answer, or fail."""

    def __init__(self, dump: bytes | RolloutError, certs: bytes | RolloutError = b"") -> None:
        """What each call gives."""
        inbound = dump if isinstance(dump, RolloutError) else (InboundChain(client_certificate=True, tls=True),)
        self.answers = {"dump": dump, "certs": certs, "inbound": inbound}
        self.asked: list[str] = []

    def _give(self, name: str) -> Any:
        self.asked.append(name)
        answer = self.answers[name]
        if isinstance(answer, RolloutError):
            raise answer
        return answer

    def certs(self, pod: Ref) -> bytes:
        """Envoy's /certs."""
        answer: bytes = self._give("certs")
        return answer

    def config_dump(self, pod: Ref) -> bytes:
        """Envoy's config_dump."""
        answer: bytes = self._give("dump")
        return answer

    def inbound(self, pod: Ref) -> tuple[InboundChain, ...]:
        """The inbound listener's chains."""
        answer: tuple[InboundChain, ...] = self._give("inbound")
        return answer


FORBIDDEN = RolloutError("not permitted: create pods/exec")


def test_proxies_that_are_asked() -> None:
    """The whole dump, else /certs, else the first failure's sentence; their logs are not asked for here."""
    dump = secrets(ROOT.leaf(LEDGER)[0], ROOT.pem)
    ref = SERVER.ref
    whole = Telling(dump)
    seen = ask_proxies([SERVER], whole)
    assert isinstance(seen.certificates[ref], Held)
    assert (NOT_ASKED, ["dump", "inbound"]) == (seen.logs[ref], whole.asked)
    assert {ref: {0: Mode.STRICT}} == seen.modes
    assert isinstance(ask_proxies([SERVER], Telling(b"junk", certs())).certificates[ref], Summary)
    refused = ask_proxies([SERVER], Telling(FORBIDDEN, FORBIDDEN))
    assert Seen({ref: FORBIDDEN.problem}, {ref: NOT_ASKED}, {ref: FORBIDDEN.problem}) == refused
    assert Seen({ref: NOBODY}, {ref: NOBODY}) == ask_proxies([SERVER], None)
    whole.answers["inbound"] = RolloutError("no listener")
    assert {ref: "no listener"} == ask_proxies([SERVER], whole).modes


def healthy(key: bytes) -> tuple[Seen, Any]:
    """What both proxies of a pair tell, with their keys in it."""
    dumps = {
        CLIENT.ref: secrets(ROOT.leaf(WEB)[0] + key, ROOT.pem + key, key=key, inline="string"),
        SERVER.ref: secrets(ROOT.leaf(LEDGER)[0] + key, ROOT.pem, key=key),
    }
    seen = Seen({ref: held(dump) for ref, dump in dumps.items()}, {ref: recognise(["info"]) for ref in dumps})
    roots = [
        ConfigMap(metadata=each.metadata, data={"root-cert.pem": ROOT.pem.decode()})
        for each in (pod("istio-ca-root-cert", "shop"), pod("istio-ca-root-cert", "payments"))
    ]
    return seen, found(*roots, peers("STRICT"), client=CLIENT, to=service(), servers=[SERVER])


def test_a_healthy_pair_whose_proxies_tell() -> None:
    """All layers pass, and the tool says that mutual TLS works here."""
    asked = question(source="web-1.shop", to="ledger.payments:80")
    assert isinstance(asked, Pair)
    seen, objects = healthy(ROOT.leaf(LEDGER)[1])
    result = of_call(asked, objects, seen, MESH, (), NOW)
    assert {Status.OK} == {layer.status for layer in result.layers}
    assert "web-1.shop to ledger.payments:80: mutual TLS works here, all layers pass" == result.sentence


def test_no_private_key_goes_anywhere() -> None:
    """A config_dump with keys inline, in their own field and within chains: none of it in values, text or JSON."""
    key = ROOT.leaf(LEDGER)[1]
    asked = question(source="web-1.shop", to="ledger.payments:80")
    assert isinstance(asked, Pair)
    seen, objects = healthy(key)
    result = of_call(asked, objects, seen, MESH, (), NOW)
    shown = "\n".join([repr(seen), repr(result), *diagnosis(result, Style()), json.dumps(diagnosis_json(result))])
    body = b"".join(key.splitlines()[1:-1]).decode()
    encoded = base64.b64encode(key).decode()
    for part in (body[:40], body[40:80], encoded[:60], encoded[60:120], "PRIVATE KEY"):
        assert part not in shown, part


def test_a_fault_of_a_certificate_is_the_cause() -> None:
    """The earlier layers pass."""
    expired = Side(pod=SERVER, held=Held(chain=(ROOT.leaf(LEDGER, since=NOW - 2 * DAY)[0],), roots=(ROOT.pem,)))
    end = conclude("x", [judge(expired)])
    assert end.cause is Layer.CERTIFICATES
    assert end.sentence == (
        "Pod payments/ledger-1 certificate, not after: expired at 2026-03-01 12:00:00Z "
        "(open connections go on, each new handshake fails)"
    )


@pytest.mark.parametrize("left", [0.485, 0.75])
def test_jitter_is_no_fault(left: float) -> None:
    """Renewal at half of the life, give or take a hundredth."""
    life = timedelta(hours=24)
    assert () == judge(side(ROOT.leaf(LEDGER, since=NOW - life * (1 - left))[0])).findings
