"""Commands with an istioctl of the tests' own making: how often it is run, what it tells, and what when it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.cli import main
from rollout.lab.lab import Lab
from tests.istioctls import OLD, calls, client, documents, made, message, table

QUICK = str(Path(__file__).parents[1] / "lifecycle" / "quick.yaml")
PAIR = ["--from", "web-0.production", "--to", "orders.production:8080"]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def pods(lab: Lab, *left_out: str) -> list[str]:
    """Those with a sidecar, as istiod knows them."""
    found = [f"{proxy.pod.name}.{proxy.pod.namespace}" for proxy in lab.simulation.proxies.values()]
    return sorted(name for name in found if name not in left_out)


def everybody(lab: Lab, **words: Mapping[str, str]) -> str:
    """All in sync but those that are named."""
    return documents([client(name, **words.get(name, {})) for name in pods(lab)])


def verbs(folder: Path) -> list[str]:
    """What it was called for."""
    return sorted(f"{call[0]} {'-A' if '-A' in call else ''}".strip() for call in calls(folder))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["plan", "payments"], ["analyze", "proxy-status"]),
        (["plan", "--all-namespaces"], ["analyze -A", "proxy-status"]),
        (["migrate", "payments", "--yes", "--playbook", QUICK], ["analyze", "proxy-status"]),
        (["diagnose", "payments"], ["analyze", "proxy-status"]),
    ],
)
def test_it_is_run_once_for_what_needs_it(tmp_path: Path, argv: list[str], expected: list[str]) -> None:
    """However many checks, states and namespaces ask."""
    with Lab.start("healthy") as lab:
        path = made(tmp_path / "bin", {"analyze": {"out": "[]"}, "proxy-status": {"out": everybody(lab)}})
        main([*argv, "--istioctl", path, "--lab", lab.api_url])
    assert expected == verbs(tmp_path / "bin")


def test_a_pair_of_two_namespaces_is_one_run(tmp_path: Path) -> None:
    """Rules of the client's decide what it sends."""
    with Lab.start("destination-rule-disable") as lab:
        path = made(tmp_path / "bin", {"analyze": {"out": "[]"}, "proxy-status": {"out": everybody(lab)}})
        web = next(name for name in pods(lab) if name.startswith("web"))
        main(["diagnose", "--from", web, "--to", "ledger.payments", "--istioctl", path, "--lab", lab.api_url])
    assert ["analyze -A", "proxy-status"] == verbs(tmp_path / "bin")


def test_one_that_happens_to_be_on_path_is_not_asked_about_a_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would look for an istiod; the layer says so."""
    path = made(tmp_path / "bin", {"analyze": {"out": "[]"}})
    monkeypatch.setenv("PATH", str(Path(path).parent), prepend=":")
    assert 0 == main(["diagnose", "shop", "--lab", "healthy"])
    assert [] == calls(tmp_path / "bin")
    shown = " ".join(capsys.readouterr().out.split())
    assert "skipped, a lab is asked only by an istioctl that --istioctl names" in shown


@pytest.fixture
def stale() -> Iterator[tuple[Lab, str, str]]:
    """The lab, its proxy that no change reaches, and its sibling."""
    with Lab.start("stale-proxy") as lab:
        stuck = [p for p in lab.simulation.proxies.values() if p.stuck]
        (name,) = [f"{proxy.pod.name}.production" for proxy in stuck]
        (other,) = [each for each in pods(lab, name) if each.startswith("orders")]
        yield lab, name, other


def diagnosed(lab: Lab, path: str, capsys: pytest.CaptureFixture[str], *of: str) -> tuple[int, dict[str, Any]]:
    code = main(["diagnose", *of, "-o", "json", "--istioctl", path, "--lab", lab.api_url])
    return code, json.loads(capsys.readouterr().out)


def layer(shown: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in shown["layers"] if each["layer"] == name)
    return found


def test_a_stale_proxy_with_istiods_side_of_it(
    stale: tuple[Lab, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mode in force is the cause; since when istiod waits is its evidence; programs get every state."""
    lab, name, other = stale
    sent = (lab.clock.now() - timedelta(hours=1)).isoformat()
    told = documents([client(name, sent=sent, LDS="STALE"), client(other)], [client("web-0.production")])
    path = made(tmp_path / "bin", {"analyze": {"out": "[]"}, "proxy-status json": {"out": told}})
    code, shown = diagnosed(lab, path, capsys, "production")
    assert (3, "peer-authentication") == (code, shown["cause"])
    assert "PERMISSIVE in force" in shown["sentence"]
    assert [True] == [each.startswith("istiod: stale, it did not acknowledge listeners (LDS), sent by istiod-1 at ")
                      for each in shown["evidence"] if each.startswith("istiod")]  # fmt: skip
    states = {each["pod"]["name"]: each["state"] for each in layer(shown, "peer-authentication")["proxies"]}
    assert {name.partition(".")[0]: "stale", other.partition(".")[0]: "synced", "web-0": "synced"} == states
    lines = layer(shown, "peer-authentication")["lines"]
    assert "in sync with istiod (istioctl proxy-status): 2 of 3 proxies" in lines


def test_one_pod_with_what_differs(
    stale: tuple[Lab, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old istioctl's table, and its comparison; no connection at all."""
    lab, name, _ = stale
    rows = [
        ["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION"],
        ["web-0.production", "K", "SYNCED", "SYNCED", "SYNCED", "NOT SENT", "NOT SENT", "istiod-1", "1.20"],
    ]
    differs = '--- Istiod Listeners\n+++ Envoy Listeners\n@@ -1 +1 @@\n-   "requireClientCertificate": true\n'
    answers: dict[str, dict[str, Any]] = {
        "analyze": {"out": "[]"},
        "proxy-status json": OLD,
        "proxy-status text": {"out": table(*rows)},
        "proxy-status diff": {"out": f"Clusters Match\n{differs}\nRoutes Match\n"},
    }
    path = made(tmp_path / "bin", answers)
    code, shown = diagnosed(lab, path, capsys, name)
    assert 3 == code
    (state,) = layer(shown, "peer-authentication")["proxies"]
    assert ("not connected", [True, True, False]) == (
        state["state"],
        [part["matches"] for part in state["differences"]],
    )
    assert any(line.startswith("Listeners differ from what istiod would send: 1 line missing")
               for line in layer(shown, "peer-authentication")["lines"])  # fmt: skip
    assert 2 == main(["diagnose", "nosuch.production", "--istioctl", path, "--lab", lab.api_url])


def test_findings_about_just_these_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code, object and page; an error is a cause where nothing before it is."""
    with Lab.start("rbac-denial") as lab:
        out = [
            message("IST0106", "Error", "AuthorizationPolicy production/x"),
            message("IST0103", "Error", "Pod production/y"),
        ]
        path = made(tmp_path / "bin", {"analyze": {"out": json.dumps(out)}, "proxy-status": {"out": everybody(lab)}})
        code, shown = diagnosed(lab, path, capsys, *PAIR)
    assert (3, "analyze") == (code, shown["cause"])
    (finding,) = layer(shown, "analyze")["findings"]
    assert ("IST0106", "AuthorizationPolicy") == (finding["field"], finding["ref"]["kind"])
    assert "https://istio.io/latest/docs/reference/config/analysis/ist0106/" in finding["fix"]


@pytest.mark.parametrize(
    ("answers", "code", "status", "words"),
    [
        ({}, 4, "unknown", "unknown command"),
        ({"analyze": {"out": "[]"}}, 0, "ok", ""),
        ({"analyze": {"out": "[]"}, "proxy-status": {"out": "garbage"}}, 0, "ok", ""),
        ({"analyze": {"out": "garbage"}}, 4, "unknown", "garbage"),
        ({"analyze": {"err": 'namespace "production" not found'}}, 4, "unknown", "not found"),
    ],
)
def test_one_that_fails(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: Mapping[str, Any],
    code: int,
    status: str,
    words: str,
) -> None:
    """Its layer is unknown; that nobody tells who is in sync is a line, and no reason to doubt the modes in force."""
    with Lab.start("rbac-denial") as lab:
        found, shown = diagnosed(lab, made(tmp_path / "bin", answers), capsys, *PAIR)
    assert (code, status) == (found, layer(shown, "analyze")["status"]), shown["sentence"]
    assert words in layer(shown, "analyze")["reason"]
    lines = layer(shown, "peer-authentication")["lines"]
    assert any(line.startswith("in sync with istiod (istioctl proxy-status): not known, ") for line in lines)
    assert "ok" == layer(shown, "peer-authentication")["status"]


@pytest.mark.parametrize(
    ("gone", "code", "words"), [(True, 3, "not connected, 1 pod"), (False, 0, "in sync with istiod")]
)
def test_a_plan_knows_who_is_not_connected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gone: bool, code: int, words: str
) -> None:
    """It would never prove the flip; and with everybody there nothing is in the way."""
    with Lab.start("healthy") as lab:
        ledger = [name for name in pods(lab) if name.endswith(".payments")]
        there = [client(name) for name in pods(lab, *(ledger[:1] if gone else []))]
        path = made(tmp_path / "bin", {"analyze": {"out": "[]"}, "proxy-status": {"out": documents(there)}})
        assert code == main(["plan", "payments", "--istioctl", path, "--lab", lab.api_url, "-o", "json"])
    shown = json.dumps(json.loads(capsys.readouterr().out))
    assert words in shown


@pytest.mark.parametrize("answers", [None, {}, {"proxy-status": {"out": "garbage"}, "analyze": {"code": 1}}])
def test_a_plan_never_blocks_for_want_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answers: Mapping[str, Any] | None
) -> None:
    """Missing or broken: skipped, with the reason."""
    named = [] if answers is None else ["--istioctl", made(tmp_path / "bin", answers)]
    assert 0 == main(["plan", "payments", *named, "--lab", "healthy"])
    assert "(proxies-in-sync): skipped" in " ".join(capsys.readouterr().out.split())
