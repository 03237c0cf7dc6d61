"""What every test run shows."""

from __future__ import annotations

from tests.lab.api.summary import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
