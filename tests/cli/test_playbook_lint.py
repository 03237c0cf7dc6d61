"""`playbook lint`: what a run would stumble over, before it; and variables that the playbook does not have."""

from pathlib import Path

import pytest

from rollout.cli import main

BOOK = """- tasks:
    - watch: {for: 0m}
  waive:
    - {check: nope, object: a, reason: r, owner: o, expires: 2020-01-01}
    - {check: plaintext-callers, object: a, reason: r, owner: o, expires: 2999-01-01}
  exempt:
    - {object: PeerAuthentication a/b, reason: r, owner: o, expires: "2020-01-01T10:00:00+02:00"}
"""


def test_everything_that_is_wrong_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A watch of nothing, and what has expired, each in its line."""
    (tmp_path / "book.yaml").write_text(BOOK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert 2 == main(["playbook", "lint", "book.yaml"])
    shown = " ".join(line.strip() for line in capsys.readouterr().err.splitlines())
    assert "book.yaml:2:20: watch.for cannot be `0m`" in shown
    assert "book.yaml:4:62: it expired, 2020-01-01 23:59 UTC" in shown
    assert "book.yaml:7:" in shown
    assert "3 errors" in shown


def test_a_waiver_of_a_check_that_there_is_not_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A check may have gone with a version; those of every state can be waived."""
    path = tmp_path / "book.yaml"
    path.write_text(BOOK.replace("2020", "2999").replace("0m", "1m"), encoding="utf-8")
    assert 0 == main(["playbook", "lint", str(path)])
    warning, summary = capsys.readouterr().out.splitlines()
    assert "warning: book.yaml:4: there is no check `nope` to waive" == warning
    assert summary.endswith("no errors")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "9 tasks, and 1 implicit"),
        ("- tasks: []\n", "0 tasks, and 4 implicit"),
        ("- tasks: [{strict: {}}]\n", "1 task, and 5 implicit"),
    ],
    ids=["shipped", "none", "strict"],
)
def test_tasks_are_counted_as_they_stand_in_the_file(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What runs without being named is told apart."""
    path = tmp_path / "book.yaml"
    path.write_text(text, encoding="utf-8")
    assert 0 == main(["playbook", "lint", *([str(path)] if text else [])])
    assert f": {expected}, sha " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "following"), [("foo", "rollout playbook show"), ("wach_for", "did you mean `watch_for`?")]
)
def test_a_variable_that_the_playbook_does_not_have(
    name: str, following: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would change nothing, and the run would not be the one that was meant."""
    assert 2 == main(["playbook", "lint", "-e", f"{name}=1h"])
    shown = capsys.readouterr().err
    assert following in " ".join(shown.split())
    if name == "foo":
        assert "    limit   it has look_back, watch_for\n" in shown


def test_a_file_of_variables_may_serve_several_playbooks(tmp_path: Path) -> None:
    """What one of them does not need is passed over."""
    path = tmp_path / "variables.yaml"
    path.write_text("foo: bar\nwatch_for: 40m\n", encoding="utf-8")
    assert 0 == main(["playbook", "lint", "-e", f"@{path}"])
