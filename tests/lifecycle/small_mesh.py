"""A mesh that a case writes, migrated through the command line, and what that said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.lab.lab import Lab


def migrated(
    folder: Path, capsys: pytest.CaptureFixture[str], mesh: dict[str, Any], playbook: str, *flags: str
) -> tuple[int, str]:
    """A migration of the mesh's target: exit status, and all that was said."""
    scenario, book = folder / "scenario.yaml", folder / "playbook.yaml"
    scenario.write_text(yaml.safe_dump(mesh), encoding="utf-8")
    book.write_text(playbook, encoding="utf-8")
    with Lab.start(scenario) as lab:
        code = main(["migrate", mesh["target"], "--playbook", str(book), "--yes", "--lab", lab.api_url, *flags])
    return code, said(capsys)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Both streams since the last look, as one line."""
    out = capsys.readouterr()
    assert "Traceback" not in out.out + out.err
    return " ".join((out.out + out.err).split())
