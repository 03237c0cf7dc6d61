"""What a look-back asks of a Prometheus: said before it asks, and what it took."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class ScrapeLabels(msgspec.Struct, frozen=True):
    """How a Prometheus names what it scraped, by its relabelling.

    Args:
        namespace: the label with the scraped pod's namespace.
        pod: the label with its name.
        reporter: whether every proxy's report says who reports. Where a rule drops that label, the policy tells: only
            the destination knows one (istio.md 6.2).
    """

    namespace: str = "namespace"
    pod: str = "pod"
    reporter: bool = True


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A look-back that begins.

    Args:
        namespaces: how many it is about, together.
        series: raw series that it goes through, as of now.
        look_back: in seconds.
        slices: it is asked in so many parts; one that is too heavy is halved.
        queries: at least so many; plaintext is looked at more closely.
        labels: how its Prometheus names what it scraped.
    """

    namespaces: int
    series: int
    look_back: float
    slices: int
    queries: int
    labels: ScrapeLabels = ScrapeLabels()


class Pace(msgspec.Struct, frozen=True):
    """So many of its slices are answered, with so many queries."""

    done: int
    slices: int
    queries: int


class Taken(msgspec.Struct, frozen=True):
    """It is over, after so many queries."""

    queries: int


Announce = Callable[[Look | Pace | Taken], None]


def nobody(_: Look | Pace | Taken) -> None:
    """Tells nobody."""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A look-back that was made, or (without `queries`) broken off; `seconds` by the wall clock."""

    look: Look
    queries: int | None = None
    seconds: float = 0.0
