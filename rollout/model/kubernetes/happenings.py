"""Kubernetes Events, under a name that the journal's events do not have."""

from __future__ import annotations

from datetime import datetime

from rollout.model.kubernetes.meta import Object, Resource, Value


class Involved(Value, frozen=True):
    """involvedObject."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


class EventSeries(Value, frozen=True):
    """series, of those who report in the newer way."""

    count: int = 0
    last_observed_time: datetime | None = None


class Happening(Object, frozen=True):
    """An Event: the same again counts up, and moves the last time."""

    RESOURCE = Resource("", ("v1",), "events", "Event")
    involved_object: Involved = Involved()
    reason: str = ""
    message: str = ""
    count: int | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: EventSeries | None = None

    @property
    def times(self) -> int:
        """How often."""
        return self.series.count if self.series is not None else self.count or 1

    @property
    def first(self) -> datetime | None:
        """When it happened first."""
        return self.first_timestamp or self.event_time or self.metadata.creation_timestamp

    @property
    def last(self) -> datetime | None:
        """When it happened last."""
        observed = self.series.last_observed_time if self.series is not None else None
        return observed or self.last_timestamp or self.first
