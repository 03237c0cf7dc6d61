"""How the lab's Prometheus labels what it scrapes: as the scenario says, and nothing of its numbers changes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from rollout.errors import UsageError
from rollout.lab.scenario import SHIPPED, load_scenario
from tests.scenarios.ending import lab_of

Series = dict[frozenset[tuple[str, str]], list[float]]


def _written(relabel: object, tmp_path: Path) -> Path:
    document = yaml.safe_load((SHIPPED / "reporter-dropped.yaml").read_text())
    document["mesh"] = {"relabel": relabel} if relabel is not None else {}
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _series(relabel: object, tmp_path: Path) -> Series:
    """The last hour of all series, by their labels."""
    with lab_of(_written(relabel, tmp_path), datetime(2026, 3, 4, tzinfo=UTC)) as lab:
        end = round(lab.clock.now().timestamp() * 1000)
        cuts = [series.cut(end - 3_600_000, end) for series in lab.storage.all()]
        return {frozenset(cut.labels.items()): list(cut.values) for cut in cuts if cut is not None}


def test_labels_are_renamed_and_dropped_and_no_two_series_become_one(tmp_path: Path) -> None:
    """Not even where a workload calls itself: each report keeps its numbers."""
    usual = _series(None, tmp_path)
    names = {"namespace": "kubernetes_namespace", "pod": "pod_name"}
    other = _series({**names, "drop": ["reporter"]}, tmp_path)
    assert any(("reporter", "source") in labels for labels in usual)
    expected = {
        frozenset((names.get(name, name), value) for name, value in labels if name != "reporter"): values
        for labels, values in usual.items()
    }
    assert len(usual) == len(expected)
    assert expected == other


@pytest.mark.parametrize(
    ("relabel", "said"),
    [
        ({"drop": ["connection_security_policy"]}, "drop is [reporter], not ['connection_security_policy']"),
        ({"node": "kubernetes_node"}, "mesh relabel: unknown key node"),
    ],
)
def test_what_cannot_be_relabelled_is_an_error(relabel: object, said: str, tmp_path: Path) -> None:
    """Two series of one proxy must not become one."""
    with pytest.raises(UsageError) as error:
        load_scenario(_written(relabel, tmp_path))
    assert said in error.value.problem
