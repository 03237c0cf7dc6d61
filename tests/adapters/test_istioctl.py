"""istioctl analyze: findings, and the ways in which it does not work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters import istioctl
from rollout.adapters.istioctl import Istioctl
from rollout.adapters.process import Finished
from rollout.errors import NoProgram, Outcome, RolloutError
from rollout.model.kubernetes import Ref
from rollout.ports import Analyzer, AnalyzerMessage
from tests.istioctls import calls, made, message

FOUND = {
    "code": "IST0108",
    "level": "Warning",
    "origin": "PeerAuthentication ns/default",
    "message": "Unknown annotation",
    "documentationUrl": "https://istio.io/ist0108",
    "reference": "x.yaml:3",
}


def answering(code: int | None, out: bytes, err: str = "") -> Istioctl:
    return Istioctl(run=lambda argv, limit: Finished(code, out, err))


def test_findings_are_read_from_its_json() -> None:
    """With code, level, place, words and page."""
    port: Analyzer = answering(0, json.dumps([FOUND]).encode())
    expected = AnalyzerMessage(
        "IST0108", "Warning", "PeerAuthentication ns/default", "Unknown annotation", "https://istio.io/ist0108"
    )
    assert {"ns": (expected,)} == port.analyze(["ns"])


def test_the_page_of_old_versions() -> None:
    """Under the name that it had."""
    old = {**{key: value for key, value in FOUND.items() if key != "documentationUrl"}, "documentation_url": "page"}
    assert "page" == answering(0, json.dumps([old]).encode()).analyze(["ns"])["ns"][0].url


def test_it_is_asked_for_one_namespace_of_the_same_cluster(tmp_path: Path) -> None:
    """Kubeconfig and context are passed on."""
    path = made(tmp_path, {"analyze": {"out": "[]"}})
    Istioctl(path, kubeconfig="k", context="c").analyze(["ns", "ns"])
    expected = ["analyze", "--color=false", "-o", "json", "--kubeconfig", "k", "--context", "c", "-n", "ns"]
    assert [expected] == calls(tmp_path)


def test_several_namespaces_are_one_run(tmp_path: Path) -> None:
    """Each gets its own messages, and those of the cluster, as with its own -n."""
    origins = [
        "Pod a/x",
        "Deployment y.b",
        "Namespace b",
        "Namespace c",
        "CustomResourceDefinition p.q.io",
        "?",
        "Pod c/z",
    ]
    out = json.dumps([message("IST0101", "Error", origin) for origin in origins])
    path = made(tmp_path, {"analyze": {"out": out}})
    found = Istioctl(path).analyze(["a", "b", "d"])
    shared = ["CustomResourceDefinition p.q.io", "?"]
    assert {
        "a": ["Pod a/x", *shared],
        "b": ["Deployment y.b", "Namespace b", *shared],
        "d": shared,
    } == {name: [each.origin for each in messages] for name, messages in found.items()}
    assert [["analyze", "--color=false", "-o", "json", "-A"]] == calls(tmp_path)


def test_a_control_plane_elsewhere(tmp_path: Path) -> None:
    """Its namespace is passed on, where it is not the one that istioctl looks in by itself."""
    path = made(tmp_path, {"analyze": {"out": "[]"}})
    Istioctl(path, istiods=("mesh",)).analyze(["ns"])
    Istioctl(path, istiods=("istio-system",)).analyze(["ns"])
    common = ["analyze", "--color=false", "-o", "json"]
    assert [[*common, "--istioNamespace", "mesh", "-n", "ns"], [*common, "-n", "ns"]] == calls(tmp_path)


@pytest.mark.parametrize(
    ("origin", "ref"),
    [
        ("Pod production/orders-1", Ref("Pod", "production", "orders-1")),
        ("Deployment orders.production", Ref("Deployment", "production", "orders")),
        ("VirtualService production/orders orders.yaml:3", Ref("VirtualService", "production", "orders")),
        ("Namespace production", Ref("Namespace", "", "production")),
        ("CustomResourceDefinition a.b.io", Ref("CustomResourceDefinition", "", "a.b.io")),
        ("?", None),
        ("", None),
    ],
)
def test_the_object_of_a_message(origin: str, ref: Ref | None) -> None:
    """In the forms of several versions."""
    assert ref == AnalyzerMessage("IST0101", "Error", origin, "").ref


@pytest.mark.parametrize("out", [b"[]", b"null\n", b""])
def test_no_findings(out: bytes) -> None:
    """In each of its spellings."""
    said = "✔ No validation issues found when analyzing namespace: ns."
    assert {"ns": ()} == answering(0, out, said).analyze(["ns"])


def test_findings_count_whatever_the_exit_status() -> None:
    """A version that fails at its threshold."""
    assert 1 == len(answering(79, json.dumps([FOUND]).encode()).analyze(["ns"])["ns"])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"code": 1, "err": "Error: connection refused"}, "exit status 1: Error: connection refused"),
        ({"code": 64, "out": "[]", "err": "Error: unknown flag: --color"}, "exit status 64: Error: unknown flag"),
        ({"code": 0, "out": "no JSON"}, "istioctl analyze ended well, and told no findings: no JSON"),
        ({"code": 0, "out": '{"a": 1}'}, 'told no findings: {"a": 1}'),
        ({"code": 0, "err": 'namespace "nosuch" not found\n'}, 'namespace "nosuch" not found'),
        ({"code": 0, "err": "Error: failed to contact the cluster"}, "told no findings: Error: failed to contact"),
        ({"code": 0}, "told no findings: it said nothing"),
        ({"code": 1}, "it said nothing"),
    ],
)
def test_failures_are_sentences(tmp_path: Path, answer: Mapping[str, Any], words: str) -> None:
    """Unknown, not clean: also where it ends with 0 and has not looked."""
    with pytest.raises(RolloutError) as error:
        Istioctl(made(tmp_path, {"analyze": answer})).analyze(["nosuch"])
    assert words in error.value.problem
    assert error.value.outcome is Outcome.CANNOT_SEE
    assert not isinstance(error.value, NoProgram)
    assert "analyze" in error.value.where


@pytest.mark.parametrize(
    ("path", "words"),
    [("nosuch-istioctl", "no istioctl on PATH"), ("/nosuch/istioctl", "there is no /nosuch/istioctl")],
)
def test_one_that_is_not_there(path: str, words: str) -> None:
    """Is another thing than one that fails; nobody looks for it 200 times."""
    port = Istioctl(path)
    for ask in (lambda: port.analyze(["ns"]), port.proxy_status, lambda: port.differences(Ref("Pod", "a", "b"))):
        with pytest.raises(NoProgram, match=words) as error:
            ask()
        assert error.value.outcome is Outcome.CANNOT_SEE
    port._run = lambda argv, limit: pytest.fail("it is looked for again")
    with pytest.raises(NoProgram, match=words):
        port.analyze(["ns"])


def test_one_that_is_not_to_be_asked() -> None:
    """Nothing is started."""
    with pytest.raises(NoProgram, match="no istiod"):
        Istioctl(without="a lab has no istiod", run=lambda argv, limit: pytest.fail("started")).analyze(["ns"])


def test_one_that_cannot_be_started(tmp_path: Path) -> None:
    """It is there, and no program."""
    path = tmp_path / "istioctl"
    path.write_text("")
    with pytest.raises(RolloutError, match="cannot be started: Permission denied") as error:
        Istioctl(str(path)).analyze(["ns"])
    assert not isinstance(error.value, NoProgram)


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Really, as a process."""
    monkeypatch.setattr(istioctl, "LIMIT", 0.3)
    with pytest.raises(RolloutError, match="istioctl analyze did not end within 0 s"):
        Istioctl(made(tmp_path, {"analyze": {"sleep": 20}})).analyze(["ns"])


@pytest.mark.istioctl
@pytest.mark.skipif(shutil.which("istioctl") is None, reason="no istioctl on PATH")
def test_a_real_istioctl_speaks_as_it_is_read(tmp_path: Path) -> None:
    """Without a cluster: a file that it analyzes, a cluster that is away, and a flag that it lacks."""
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns, labels: {istio-injection: enabled}}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: bare, namespace: ns}\nspec: {containers: [{name: a, image: b}]}\n"
    )
    argv = ["istioctl", "analyze", "--color=false", "-o", "json", "--use-kube=false", "-A", str(manifest)]
    done = istioctl._run(argv, 60)
    found = istioctl._messages(done)
    assert found is not None, done
    assert ["IST0103"] == [each.code for each in found if each.code == "IST0103"], done
    assert Ref("Pod", "ns", "bare") in [AnalyzerMessage(m.code, m.level, m.origin, m.message).ref for m in found]
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n"
        "clusters: [{name: x, cluster: {server: 'http://127.0.0.1:9'}}]\nusers: [{name: x, user: {}}]\n"
    )
    port = Istioctl(kubeconfig=str(nowhere))
    for ask in (lambda: port.analyze(["ns"]), port.proxy_status, lambda: port.differences(Ref("Pod", "ns", "bare"))):
        with pytest.raises(RolloutError) as error:
            ask()
        assert not isinstance(error.value, NoProgram)
        assert error.value.problem.startswith("istioctl ")
    lacking = istioctl._run(["istioctl", "analyze", "--no-such-flag"], 60)
    assert istioctl._NO_SUCH_FLAG.search(lacking.err), lacking
