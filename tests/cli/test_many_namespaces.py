"""A plan of several namespaces asks for what one asks for: counted at the sockets, not timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.cli import main
from rollout.lab.lab import Lab
from rollout.world.certificates import TOGETHER

#: Asked of the server for each namespace, and for nothing else.
PER_NAMESPACE = "dry run"
#: Asked of proxies, of which several namespaces share a number.
PROXIES = ("GET exec", "GET istio-ca-root-cert")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Three namespaces in a healthy mesh."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Lab.start("healthy") as running:
        yield running


def asked(lab: Lab, monkeypatch: pytest.MonkeyPatch, *argv: str) -> Counter[str]:
    """Requests of one command: lists by kind, queries, reviews, dry runs."""
    server = lab._serving()
    answer, handle = server.api.answer, lab.prometheus.handle
    found: Counter[str] = Counter()

    def counted(request: Any) -> Any:
        last = request.path.rpartition("/")[2]
        found[PER_NAMESPACE if "dryRun" in request.query else f"{request.method} {last}"] += 1
        return answer(request)

    def queried(*args: Any) -> Any:
        found[f"prometheus {args[1].rpartition('/')[2]}"] += 1
        return handle(*args)

    with monkeypatch.context() as patch:
        patch.setattr(server.api, "answer", counted)
        patch.setattr(lab.prometheus, "handle", queried)
        main([*argv, "--lab", lab.api_url, "-e", "look_back=1d", "--allow-idle", "-o", "json"])
    return found


def test_three_namespaces_cost_the_lists_queries_and_reviews_of_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One list a kind; only the dry runs of each namespace's own writes come on top."""
    one = asked(lab, monkeypatch, "plan", "shop")
    three = asked(lab, monkeypatch, "plan", "--all-namespaces")
    dry_runs = one.pop(PER_NAMESPACE), three.pop(PER_NAMESPACE)
    assert dry_runs == (1, 3)
    asked_of_proxies = [three.pop(key, 0) for key in PROXIES], [one.pop(key, 0) for key in PROXIES]
    assert max(asked_of_proxies[0]) <= TOGETHER
    assert one == three
    assert one["GET pods"] == one["GET daemonsets"] == one["GET services"] == 1
    assert capsys.readouterr().out.count('"would_pass"') == 4


def test_a_plan_of_many_begins_with_a_table(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """What a reader of 200 namespaces looks at first."""
    main(["plan", "--all-namespaces", "--lab", lab.api_url, "-e", "look_back=1d", "--allow-idle"])
    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("NAMESPACE"))
    assert lines[start].split() == ["NAMESPACE", "RESULT", "PLAINTEXT", "BLOCKED", "BY"]
    assert [line.split() for line in lines[start + 1 : start + 4]] == [
        [name, "would", "pass", "0"] for name in ("ops", "payments", "shop")
    ]
    assert lines[start + 4] == "[DRY RUN] namespace ops"
