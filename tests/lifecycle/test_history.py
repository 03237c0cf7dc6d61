"""`--prometheus-history`: the look-back from another address, which the record knows for a resume."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.lab.lab import Lab
from rollout.lab.prometheus import Prometheus
from tests.lifecycle.test_what_users_did import READY, run

HISTORY = ["--prometheus-history", "prometheus.monitoring:9090"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Ready."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(READY), encoding="utf-8")
    with Lab.start(path) as running:
        yield running


def test_the_look_back_is_asked_there_raw_and_the_watch_is_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thanos' parameters go with the questions of the look-back alone; a resume needs no flag."""
    asked: list[tuple[bool, str]] = []
    assert isinstance(lab.prometheus, Prometheus)
    original = lab.prometheus._query

    def query(parameters: Mapping[str, Any]) -> object:
        asked.append(("max_source_resolution" in parameters, str(parameters["query"])))
        return original(parameters)

    monkeypatch.setitem(lab.prometheus._routes, "/api/v1/query", query)
    assert 7 == run(lab, "migrate", "production", "--until", "confirming", *HISTORY)
    asked.clear()
    assert 0 == run(lab, "resume", "production")
    past = [text for raw, text in asked if raw]
    assert past
    assert not [text for text in past if 'reporter="source"' in text]
    assert [text for raw, text in asked if not raw and 'reporter="source"' in text]
