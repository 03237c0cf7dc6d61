"""A waiver or an exemption that nothing needed is told, for it may be misspelt."""

from pathlib import Path

import pytest

from rollout.cli import main

GIVEN = (
    ("--waive", "probes=Pod x/y"),
    ("--exempt", "PeerAuthentication shop/nothere"),
    ("--exempt", "other/w:80"),
)
WARNINGS = [
    "warning: the waiver probes=Pod x/y matches nothing that was found",
    "warning: the exemption of PeerAuthentication shop/nothere matches no exception that was found",
    "warning: the exemption of other/w:80 is of another namespace",
]
BOOK = """- tasks: []
  waive:
    - {check: probes, object: Deployment shop/gone, reason: r, owner: o, expires: 2999-01-01}
    - {check: probes, object: Deployment elsewhere/gone, reason: r, owner: o, expires: 2999-01-01}
"""


def warned(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The warnings, unwrapped."""
    text = capsys.readouterr().out.replace("\n  that was", " that was")
    return [line for line in text.splitlines() if line.startswith("warning:")]


def test_what_matches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the command line each one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    flags = [word for pair in GIVEN for word in pair]
    main(["plan", "shop", "--lab", "healthy", *flags, "--reason", "r"])
    assert WARNINGS == warned(capsys)


def test_of_a_playbook_what_names_the_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It serves others as well."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    book = tmp_path / "book.yaml"
    book.write_text(BOOK, encoding="utf-8")
    main(["plan", "shop", "--lab", "healthy", "--playbook", str(book)])
    assert ["warning: the waiver probes=Deployment shop/gone matches nothing that was found"] == warned(capsys)


def test_what_is_needed_is_not_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A waiver that takes a blocking finding away."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    main(["plan", "payments", "--lab", "probe-rewrite-off", "--waive", "probes=*", "--reason", "r"])
    shown = capsys.readouterr().out
    assert "Deployment payments/" in shown
    assert "matches nothing" not in shown
