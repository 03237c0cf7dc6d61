"""The simulator's instants, milliseconds since the epoch, and those of the API."""

from __future__ import annotations

from datetime import UTC, datetime


def to_ms(moment: datetime) -> int:
    """An instant as milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


def to_moment(ms: int) -> datetime:
    """Milliseconds since the epoch as an instant in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)
