"""The check of certificates without the package that reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

import rollout.checks.certificates as check
from rollout.model.finding import Status
from tests.checks.test_cases import load, result_of


def test_without_the_package_it_is_skipped_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never passed."""
    monkeypatch.setattr(check, "available", lambda: False)
    path = Path(__file__).parent / "certificates" / "fail_expired.yaml"
    result = result_of(path, load(path))
    assert (Status.SKIPPED, ()) == (result.status, result.findings)
    assert "pip install 'rollout[certificates]'" in result.reason
