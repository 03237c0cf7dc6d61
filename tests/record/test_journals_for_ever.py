"""Journals of every version load for ever, and a change of a shape is noticed.

After a change on purpose: raise VERSION, add a corpus file of the old shape, and write the snapshot anew with
`python -m tests.record.test_journals_for_ever`.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.record.codec import decode
from rollout.record.events import NOTES, VERSION, Fact, Note
from rollout.record.run import fold
from rollout.record.state import State

HERE = Path(__file__).parent
SNAPSHOT = HERE / f"schema-v{VERSION}.json"
CORPUS = sorted((HERE / "corpus").glob("*.jsonl"))


def shapes() -> dict[str, Any]:
    """The JSON Schema of every event, without its prose."""
    schema: dict[str, Any] = msgspec.json.schema(Fact | Note)
    return json.loads(json.dumps(_without_prose(schema)))  # type: ignore[no-any-return]


def _without_prose(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_prose(v) for k, v in value.items() if k != "description" or not isinstance(v, str)}
    return [_without_prose(v) for v in value] if isinstance(value, list) else value


def test_the_shapes_are_those_of_the_version() -> None:
    """A field that comes, goes or changes needs a new version and a corpus file."""
    assert json.loads(SNAPSHOT.read_text(encoding="utf-8")) == shapes()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_an_old_journal_folds(path: Path) -> None:
    """Each file says in its name how its run ended."""
    events = [decode(line) for line in path.read_text(encoding="utf-8").splitlines()]
    run = fold(events)
    assert run.state is State(path.stem.partition("-")[2].replace("-", "_"))
    facts = [event for event in events if not isinstance(event, NOTES)]
    assert fold(facts) == run


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(shapes(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
