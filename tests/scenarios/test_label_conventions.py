"""The same ends, whatever labels Prometheus gives its scrapes: what is plaintext, idle or lost stays that."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.lab.scenario import SHIPPED
from tests.scenarios.ending import assert_as_the_file_says, lab_of, migrated

PRESENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
CLASSIC = {"namespace": "kubernetes_namespace", "pod": "kubernetes_pod_name"}
DROPPED = {"pod": "pod_name", "drop": ["reporter"]}
#: Plaintext by name and without, an own TLS, nobody, a caller by address, silence, an outage, a flip taken back.
NAMES = [
    "legacy-caller",
    "nameless-caller",
    "headless-mixed",
    "no-traffic",
    "regression-pod-ip",
    "caller-stops-during-watch",
    "prometheus-outage-short-during-watch",
    "overridden-during-watch",
    "disabled-namespace",
]


@pytest.mark.parametrize("relabel", [CLASSIC, DROPPED], ids=["classic labels", "reporter dropped"])
@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_ends_the_same_with_other_labels(
    name: str,
    relabel: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code and words of the file."""
    document = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    document["mesh"] = {**document.get("mesh", {}), "relabel": relabel}
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    with lab_of(path, PRESENT) as lab:
        assert_as_the_file_says(lab.scenario, migrated(lab, tmp_path, monkeypatch, capsys))
