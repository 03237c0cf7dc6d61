"""What every test run shows, and what it lets pass."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from tests.lab.api.summary import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]

#: The suites that need what no registry has.
MAY_SKIP = {"kube_apiserver", "kind", "istioctl"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failure: what it needs is to be installed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not MAY_SKIP & {mark.name for mark in item.iter_markers()}:
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"
    return report
