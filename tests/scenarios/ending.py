"""How a migration ends, wherever its lab evaluates: the same body for every place."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.lab.lab import Lab
from rollout.lab.scenario import SHIPPED, Scenario, load_scenario

#: What differs between two runs of the same mesh at the same times: random, or made of the last digits of numbers.
_OWN = ("uid", "permit")
#: A number that stands alone: no part of a name, a time or a duration.
_NUMBER = re.compile(r"(?<![\w.:-])\d+(?:\.(\d+))?(?![\w:-])")


@dataclass(frozen=True)
class Ended:
    """How a migration ended.

    Attributes:
        code: exit code.
        said: both streams, white space collapsed.
        events: of all its runs, as they were recorded but for `spec` and what is random.
        interval: seconds between two scrapes as the last baseline has it; None without a baseline.
    """

    code: int
    said: str
    events: list[Any]
    interval: float | None


def lab_of(name: str | Path, present: datetime, prometheus: str = "") -> Lab:
    """A lab that serves, in which no time passes before the tool attaches: the same run at the same instants."""
    lab = Lab(load_scenario(name), seed=1, start=present, monotonic=lambda: 0.0, prometheus=prometheus)
    lab.serve()
    return lab


def scraped_every(seconds: int, name: str, folder: Path) -> Path:
    """A shipped scenario as a file, with another scrape interval."""
    document = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    document["mesh"] = {**document.get("mesh", {}), "scrape_interval": f"{seconds}s"}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def migrated(lab: Lab, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ended:
    """Migrate the scenario's target with its flags, as a user would; the lab did not fail meanwhile."""
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    scenario = lab.scenario
    code = main(["migrate", *scenario.target, "--lab", lab.api_url, "--yes", *scenario.flags])
    out = capsys.readouterr()
    assert [] == lab._serving().failures
    events = [json.loads(line) for journal in _journals(state) for line in _lines(journal)]
    kept = [event for event in events if event["type"] != "spec"]
    intervals = [event["baseline"]["sight"]["interval"] for event in events if event["type"] == "baseline"]
    return Ended(code, " ".join((out.out + out.err).split()), kept, intervals[-1] if intervals else None)


def assert_as_the_file_says(scenario: Scenario, ended: Ended) -> None:
    """Exit code, and the end's words on the screen."""
    expected = scenario.expected
    assert expected.exit_code == ended.code, ended.said[-5000:]
    assert "Traceback" not in ended.said
    assert f"Result: {expected.outcome.replace('_', ' ').upper()}" in ended.said
    assert [] == [word for word in expected.mentions if word not in ended.said]


def _journals(state: Path) -> list[Path]:
    """Of all runs, by namespace."""
    return sorted(state.glob("rollout/runs/*/journal.jsonl"))


def _lines(journal: Path) -> list[str]:
    """Of one run, whose name is partly random."""
    return journal.read_text().replace(journal.parent.name, "RUN").splitlines()


def differences(left: Any, right: Any, where: str = "") -> list[str]:
    """Where two recorded values differ: numbers by more than the order in which a sum is taken."""
    match left, right:
        case dict(), dict():
            keys = sorted({*left, *right} - {*_OWN})
            return [line for key in keys for line in differences(left.get(key), right.get(key), f"{where}.{key}")]
        case list(), list() if len(left) == len(right):
            parts = enumerate(zip(left, right, strict=True))
            return [line for index, pair in parts for line in differences(*pair, f"{where}[{index}]")]
        case float(), float() if math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9):
            return []
        case str(), str() if _same_text(left, right):
            return []
        case _:
            return [] if left == right else [f"{where}: {left!r} and {right!r}"]


def _same_text(left: str, right: str) -> bool:
    """Equal, but for one unit in the last digit of its numbers: 1446.5 calls are 1446 or 1447 in a sentence."""
    if _NUMBER.sub("#", left) != _NUMBER.sub("#", right):
        return False
    pairs = zip(_NUMBER.finditer(left), _NUMBER.finditer(right), strict=True)
    return all(abs(float(a[0]) - float(b[0])) <= 1.01 * 10 ** -len(a[1] or "") for a, b in pairs)
