"""A diagnosis as people see it."""

from __future__ import annotations

import pytest

from rollout.model.diagnosis import Diagnosis, Layer, LayerResult, PatternCount, Recognition
from rollout.model.finding import Finding, Severity, Status
from rollout.model.kubernetes import Ref
from rollout.report.diagnosis import FINDINGS, LINES, diagnosis, diagnosis_json, recognition, recognition_json
from rollout.report.layout import Style, advice, width_of

REF = Ref("Pod", "payments", "ledger-1")


def finding(**fields: object) -> Finding:
    """One that blocks."""
    return Finding(ref=REF, field="spec", measured="wrong", severity=Severity.BLOCKING, new=False, **fields)  # type: ignore[arg-type]


def layers(*findings: Finding, lines: tuple[str, ...] = ()) -> tuple[LayerResult, ...]:
    """Three of them, as different as they can be."""
    return (
        LayerResult(layer=Layer.INJECTION, status=Status.OK, lines=lines),
        LayerResult(layer=Layer.POLICY, status=Status.FAILED, findings=findings),
        LayerResult(layer=Layer.CERTIFICATES, status=Status.UNKNOWN, reason="exec is forbidden"),
    )


def end(*results: LayerResult, cause: Layer | None = Layer.POLICY, fix: str = "kubectl fix it") -> Diagnosis:
    """A diagnosis of these."""
    return Diagnosis(
        subject="a to b", sentence="it is wrong", evidence=("seen",), fix=fix, cause=cause, layers=tuple(results)
    )


def test_the_order_of_things() -> None:
    """Cause, where, layers with their numbers and marks, and the cause again with evidence and fix."""
    shown = diagnosis(end(*layers(finding(limit="right", where=("here",), fix="do it"))), Style(), where="context lab")
    assert ["it is wrong", "context lab · asked: a to b", ""] == shown[:3]
    assert [
        "√ 1 injection: the pods run the sidecar, and it captures their traffic",
        "× 2 peer-authentication: the client sends mutual TLS, and the server accepts it",
        "? 3 certificates: certificates are valid, and know each other's root: unknown,",
    ] == [line for line in shown if line[:1] in "√×?" and line]
    assert ["    cause     it is wrong", "    evidence  seen", "    fix       kubectl fix it"] == shown[-3:]
    assert "  × Pod payments/ledger-1 spec" in shown


def test_what_strict_would_refuse() -> None:
    """Said beside what was measured; a warning is a matter of STRICT alone."""
    accepted = Finding(ref=REF, measured="plaintext", severity=Severity.BLOCKING, new=True)
    blind = Finding(ref=REF, measured="blind", severity=Severity.WARNING, new=True)
    shown = diagnosis(end(*layers(accepted, blind)), Style())
    assert "              accepted now, STRICT would refuse it" in shown
    assert "              a matter of STRICT, not of now" in shown
    assert "  ‼ Pod payments/ledger-1" in shown


def test_a_long_layer_is_cut() -> None:
    """All of it is in the JSON."""
    many = end(*layers(*[finding()] * (FINDINGS + 2), lines=("looked",) * (LINES + 1)))
    shown = diagnosis(many, Style())
    assert "    and 2 findings more (all of them: -o json)" in shown
    assert "    and 1 line more (all of them: -o json)" in shown
    assert FINDINGS + 2 == len(diagnosis_json(many)["layers"][1]["findings"])


def test_nothing_is_wrong() -> None:
    """A result instead of a cause, and no fix; green when all was seen, yellow when not."""
    seen = end(LayerResult(layer=Layer.INJECTION, status=Status.OK), cause=None, fix="")
    assert "    result    it is wrong" in diagnosis(seen, Style())
    assert diagnosis(seen, Style(color=True))[0].startswith("\x1b[32m")
    unseen = end(layers()[2], cause=None, fix="")
    assert diagnosis(unseen, Style(color=True))[0].startswith("\x1b[33m")
    assert diagnosis(end(*layers(finding())), Style(color=True))[0].startswith("\x1b[31m")


def test_lines_fit_and_secrets_are_cut() -> None:
    """Whatever a cluster says."""
    secret = finding(where=("https://user:hunter2@host/", "x" * 300), fix="y " * 200)
    for width in (24, 60, 80):
        shown = diagnosis(end(*layers(secret), fix="z" * 100), Style(width=width))
        assert max(width_of(line) for line in shown) <= width
        assert "hunter2" not in "\n".join(shown)
    assert "hunter2" not in repr(diagnosis_json(end(*layers(secret))))


PATCH = """kubectl patch deployment orders -n production --type merge -p '{"spec": {"template": {"metadata": null}}}'"""


@pytest.mark.parametrize(
    ("fix", "expected"),
    [
        ("", []),
        (PATCH, [PATCH]),
        (
            f"let the caller use mutual TLS (layers 1 and 2), or by hand: {PATCH}; or exempt it with a reason",
            [
                "let the caller use mutual TLS (layers 1 and 2), or by hand:",
                f"{PATCH};",
                "or exempt it with a reason",
            ],
        ),
        (
            "when `kubectl get all -n production -l app=orders,tier=backend` shows the pod's peers: istioctl x",
            [
                "when `kubectl get all -n production -l app=orders,tier=backend`",
                "shows the pod's peers: istioctl x",
            ],
        ),
        (
            "or, when it may be cut, accept the caller: --waive 'plaintext-callers=a/web -> b/orders' --reason TEXT",
            [
                "or, when it may be cut, accept the caller:",
                "--waive 'plaintext-callers=a/web -> b/orders' --reason TEXT",
            ],
        ),
        ("add a rule: " + '{"to":' + "x" * 80 + "}", ["add a rule:", '{"to":' + "x" * 80 + "}"]),
    ],
)
def test_a_fix_can_be_copied(fix: str, expected: list[str]) -> None:
    """Its commands are never broken, however long they are; its prose is wrapped."""
    lead = ["    fix       ", *[" " * 14] * 9]
    assert [f"{head}{line}" for head, line in zip(lead, expected, strict=False)] == advice(fix, Style())


PATTERN = PatternCount(
    id="x",
    title="Refused",
    meaning="bad",
    fix="mend",
    count=7,
    example="token=hunter2",
    details=(("10.0.0.9", 5),),
    more=2,
)


def test_recognised_patterns() -> None:
    """The first is the headline; what varies with its count, and how much was dropped."""
    shown = recognition(Recognition(1200, (PATTERN,)), Style())
    assert "Refused: 7 lines of 1,200" == shown[0]
    assert "    detail    10.0.0.9: 5 lines" in shown
    assert "              and 2 lines with others" in shown
    assert "hunter2" not in "\n".join(shown)
    assert "hunter2" not in repr(recognition_json(Recognition(1, (PATTERN,))))
    assert ["no known pattern in 3 lines"] == recognition(Recognition(3), Style())
