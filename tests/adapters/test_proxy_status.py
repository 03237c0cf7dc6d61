"""istioctl proxy-status: the forms of its versions, and what is none of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters import istioctl
from rollout.adapters.istioctl import Istioctl
from rollout.adapters.process import Finished
from rollout.errors import NoProgram, RolloutError
from rollout.model.kubernetes import Ref
from rollout.model.synchronization import Difference, ProxySync, Sync
from tests.istioctls import OLD, calls, client, documents, made, table

POD = Ref("Pod", "production", "orders-1")
SENT = datetime(2026, 3, 2, 11, tzinfo=UTC)
ALL = {"CDS": Sync.SYNCED, "LDS": Sync.SYNCED, "EDS": Sync.SYNCED, "RDS": Sync.SYNCED}


def status(folder: Path, answers: Mapping[str, Any]) -> tuple[ProxySync, ...]:
    return Istioctl(made(folder, answers)).proxy_status()


def test_one_document_for_each_istiod(tmp_path: Path) -> None:
    """One after the other, and one of them without proxies (1.27 and later)."""
    out = documents([client("orders-1.production", LDS="STALE", RDS="NOT_SENT")], [], [client("web-0.production")])
    orders, web = status(tmp_path, {"proxy-status json": {"out": out}})
    assert orders == ProxySync(
        pod=POD,
        types={**ALL, "LDS": Sync.STALE, "RDS": Sync.NOT_SENT},
        sent=dict.fromkeys(ALL, SENT),
        cluster="Kubernetes",
        istiod="istiod-1",
        version="1.27.3",
    )
    assert (Ref("Pod", "production", "web-0"), "istiod-3") == (web.pod, web.istiod)
    assert [["proxy-status", "-o", "json"]] == calls(tmp_path)


def test_what_a_proxy_rejected(tmp_path: Path) -> None:
    """With istiod's words."""
    (found,) = status(tmp_path, {"proxy-status": {"out": documents([client("orders-1.production", LDS="ERROR")])}})
    assert Sync.ERROR is found.types["LDS"]
    assert "LDS: Error adding/updating listener(s) virtualInbound: bad filter" == found.error


def test_words_and_types_that_are_not_known(tmp_path: Path) -> None:
    """Are left out, not taken for any that are; the whole node id of some versions is a pod, too."""
    raw = client("sidecar~10.0.0.1~orders-1.production~production.svc.cluster.local", LDS="PERHAPS", EDS="UNKNOWN")
    raw["genericXdsConfigs"].append({"typeUrl": "type.googleapis.com/a.b.Novelty", "configStatus": "SYNCED"})
    del raw["genericXdsConfigs"][0]["lastUpdated"]
    response = json.loads(documents([raw]))
    response["controlPlane"] = {"identifier": "istiod"}
    (found,) = status(tmp_path, {"proxy-status": {"out": json.dumps(response)}})
    assert (POD, "") == (found.pod, found.istiod)
    assert {"CDS": Sync.SYNCED, "EDS": Sync.IGNORED, "RDS": Sync.SYNCED} == found.types


NAME = "orders-1.production"
#: Columns came, went and moved; cells hold blanks and parentheses.
TABLES = {
    "1.5": table(
        ["NAME", "CDS", "LDS", "EDS", "RDS", "PILOT", "VERSION"],
        [NAME, "SYNCED", "STALE (Never Acknowledged)", "SYNCED", "NOT SENT", "istiod-1", "1.5.2*"],
    ),
    "1.13": table(
        ["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION"],
        [NAME, "Kubernetes", "SYNCED", "STALE", "SYNCED", "NOT SENT", "NOT SENT", "istiod-1", "1.5.2"],
    ),
    "1.24": table(
        ["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION"],
        [NAME, "Kubernetes", "SYNCED (5m)", "STALE (2h)", "SYNCED (5m)", "NOT SENT", "IGNORED", "istiod-1", "1.5.2"],
    ),
    "verbose": "a note of the client\n\n"
    + table(
        ["NAME", "CLUSTER", "CDS", "ECDS", "EDS", "LDS", "RDS", "ISTIOD", "VERSION"],
        [NAME, "Kubernetes", "SYNCED", "IGNORED", "SYNCED", "STALE", "NOT SENT", "istiod-1", "1.5.2"],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_older_versions(tmp_path: Path, name: str) -> None:
    """Read by their headings, after the flag for JSON was refused."""
    (found,) = status(tmp_path, {"proxy-status json": OLD, "proxy-status text": {"out": TABLES[name]}})
    wanted = {"CDS": Sync.SYNCED, "LDS": Sync.STALE, "EDS": Sync.SYNCED, "RDS": Sync.NOT_SENT}
    assert wanted == {key: value for key, value in found.types.items() if key != "ECDS"}
    assert (POD, "istiod-1", "1.5.2") == (found.pod, found.istiod, found.version)
    assert [["proxy-status", "-o", "json"], ["proxy-status"]] == calls(tmp_path)


def test_a_table_without_a_proxy(tmp_path: Path) -> None:
    """Nobody is connected."""
    heading = TABLES["1.13"].partition("\n")[0]
    assert () == status(tmp_path, {"proxy-status json": OLD, "proxy-status text": {"out": heading + "\n"}})


@pytest.mark.parametrize("checked", ["1 istiods", "3 istiods", "1 istiod"])
def test_nobody_is_connected(tmp_path: Path, checked: str) -> None:
    """It fails then, and yet it tells."""
    answer = {"code": 1, "err": f"Error: failed to setup status print: no proxies found (checked {checked})\n"}
    assert () == status(tmp_path, {"proxy-status": answer})


def test_every_istiod_is_asked(tmp_path: Path) -> None:
    """It looks in one namespace at a time, and a proxy of another control plane is not a lost one."""
    answers: dict[str, dict[str, Any]] = {
        "proxy-status json": {"out": documents([client("orders-1.production")])},
        "proxy-status diff": {"code": 1, "err": "Error: unable to find config dump in Istiod responses"},
    }
    port = Istioctl(made(tmp_path, answers), istiods=("istio-canary", "istio-system"))
    assert [POD, POD] == [proxy.pod for proxy in port.proxy_status()]
    with pytest.raises(RolloutError, match="unable to find config dump"):
        port.differences(POD)
    listed, compared = ["proxy-status", "-o", "json"], ["proxy-status", "orders-1.production"]
    canary = ["--istioNamespace", "istio-canary"]
    assert [[*listed, *canary], listed, [*compared, *canary], compared] == calls(tmp_path)


def test_one_istiod_that_does_not_answer_makes_all_unknown(tmp_path: Path) -> None:
    """Who is not in the list of the other is not lost for that."""

    def run(argv: Sequence[str], limit: float) -> Finished:
        answers = "--istioNamespace" in argv
        return Finished(0, documents([]).encode(), "") if answers else Finished(1, b"", "Error: timed out")

    with pytest.raises(RolloutError, match="timed out"):
        Istioctl(istiods=("istio-canary", "istio-system"), run=run).proxy_status()


GARBAGE = table(["NAME", "STATE"], [NAME, "fine"])
#: 1.27 and later without -o json: who is connected, and not whether it is in sync.
SUBSCRIBED = table(
    ["NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES"],
    [NAME, "Kubernetes", "istiod-1", "1.27.1", "4 (CDS,LDS,EDS,RDS)"],
)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"proxy-status": {"code": 1, "err": "Error: no proxies found (checked 0 istiods)"}}, "checked 0 istiods"),
        (
            {"proxy-status": {"code": 1, "err": "Error: unable to find any Istiod instances"}},
            "unable to find any Istiod",
        ),
        ({"proxy-status": OLD}, "unknown shorthand flag"),
        ({"proxy-status": {"out": ""}}, "has no form that is known here: it is empty"),
        ({"proxy-status": {"out": GARBAGE}}, "has no form that is known here: NAME"),
        ({"proxy-status json": OLD, "proxy-status text": {"out": SUBSCRIBED}}, "SUBSCRIBED TYPES"),
        ({"proxy-status": {"out": '{"resources": [{"node": {"id": "x"}}]}'}}, "no form that is known"),
        ({"proxy-status": {"out": '{"resources": []} trailing'}}, "no form that is known"),
        ({"proxy-status": {"out": '{"proxies": []}'}}, "no form that is known"),
        ({"proxy-status": {"out": '{"resources": 3}'}}, "no form that is known"),
        ({"proxy-status": {"out": "[" * 5000}}, "no form that is known"),
    ],
)
def test_what_is_not_known_is_a_sentence(tmp_path: Path, answers: Mapping[str, Any], words: str) -> None:
    """Never a guess, and never "in sync"."""
    with pytest.raises(RolloutError) as error:
        status(tmp_path, answers)
    assert words in error.value.problem
    assert not isinstance(error.value, NoProgram)
    assert "proxy-status" in error.value.where


def test_one_that_hangs_is_ended_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not asked for its table afterwards."""
    monkeypatch.setattr(istioctl, "STATUS_LIMIT", 0.3)
    with pytest.raises(RolloutError, match="istioctl proxy-status did not end within 0 s"):
        status(tmp_path, {"proxy-status": {"sleep": 20}})
    assert [] == [call for call in calls(tmp_path) if call[1:] != ["-o", "json"]]


SAME = "Clusters Match\nListeners Match\nRoutes Match (RDS last loaded at Mon, 02 Mar 2026 11:00:00 UTC)\n"
DIFF = """Clusters Match
--- Istiod Listeners
+++ Envoy Listeners
@@ -1,5 +1,9 @@
 {
    "dynamicListeners": [
-      {
-      "requireClientCertificate": true,
-      "inlineString": "hunter2",
+      "transportProtocol": "raw_buffer",
+++ b,
       "name": "virtualInbound"

Routes Match (RDS last loaded at Mon, 02 Mar 2026 11:00:00 UTC)
"""


def test_what_a_proxy_has_is_what_istiod_would_send(tmp_path: Path) -> None:
    """Part by part."""
    path = made(tmp_path, {"proxy-status diff": {"out": SAME}})
    found = Istioctl(path, kubeconfig="k").differences(POD)
    assert [("Clusters", True), ("Listeners", True), ("Routes", True)] == [(each.part, each.matches) for each in found]
    assert [["proxy-status", "orders-1.production", "--kubeconfig", "k"]] == calls(tmp_path)


def test_what_differs(tmp_path: Path) -> None:
    """Counted, with some of it; a brace says nothing, a text may be a secret, and older versions call it Pilot."""
    for number, out in enumerate([DIFF, DIFF.replace("Istiod", "Pilot")]):
        found = Istioctl(made(tmp_path / str(number), {"proxy-status diff": {"out": out}})).differences(POD)
        examples = ("- requireClientCertificate: true", "- inlineString: …", '+ transportProtocol: "raw_buffer"')
        listeners = Difference(part="Listeners", matches=False, missing=3, extra=2, examples=examples)
        assert listeners == found[-1]
        assert {"Clusters", "Routes", "Listeners"} == {each.part for each in found}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"code": 1, "err": "Error: could not contact sidecar: pod not found"}, "could not contact sidecar"),
        ({"out": "Sync diff is not available for ztunnel pod x.y\n"}, "Sync diff is not available"),
        ({"out": ""}, "it is empty"),
    ],
)
def test_a_comparison_that_is_none(tmp_path: Path, answer: Mapping[str, Any], words: str) -> None:
    """Nothing compared is not the same as no difference."""
    with pytest.raises(RolloutError) as error:
        Istioctl(made(tmp_path, {"proxy-status diff": answer})).differences(POD)
    assert words in error.value.problem
