"""How much a look-back asks of Prometheus, said beforehand, and what it took. A small one is not worth a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rollout.model.look import Look, Looked, ScrapeLabels
from rollout.report.layout import count, span

#: Series times days from which on it is told: some ten seconds of a Prometheus on two cores (benchmarks/evidence.py).
MANY = 5000.0
#: What takes longer than this, in seconds, is told however small it is.
LONG = 5.0
_DAY = 86400.0


def many(look: Look) -> bool:
    """It is worth a line before it begins."""
    return look.series * look.look_back / _DAY >= MANY


def before(look: Look, limit: float) -> str:
    """What is about to be asked; `limit` in seconds is how long one query may take."""
    where = f"of {count(look.namespaces, 'namespace')} " if look.namespaces > 1 else ""
    bound = span(look.queries * limit)
    return (
        f"Asking Prometheus for {span(look.look_back)} {where}({look.series:,} series): {count(look.slices, 'slice')}, "
        f"{look.queries} queries or more, each at most {span(limit)}, so {bound} at most for these; a heavier one is "
        "asked in halves"
    )


def estimate(left: float) -> str:
    """After a slice; `left` in seconds."""
    return f"About {span(max(left, 1.0))} to go, by the slices so far"


def after(looked: Looked) -> str:
    """What it took; '' where that is not worth a line."""
    if looked.queries is None or not (many(looked.look) or looked.seconds >= LONG):
        return ""
    return (
        f"Prometheus was asked for {span(looked.look.look_back)} in {looked.queries} queries, "
        f"{looked.seconds:.1f} s: {looked.look.series:,} series"
    )


def unusual(labels: ScrapeLabels) -> str:
    """How the scraped pods are named, where that is not the usual way; '' where it is."""
    usual = ScrapeLabels()
    if (labels.namespace, labels.pod) == (usual.namespace, usual.pod):
        return ""
    return f"Prometheus names the scraped pods by {labels.namespace} and {labels.pod}"


def told(looks: Iterable[Looked]) -> tuple[str, ...]:
    """For the end of a report: labels and costs, each once."""
    sentences = [said for one in looks for said in (unusual(one.look.labels), after(one))]
    return tuple(dict.fromkeys(said for said in sentences if said))


def looks_json(looks: Iterable[Looked]) -> list[dict[str, Any]]:
    """For programs; seconds by the wall clock, `queries` null where it was broken off."""
    return [
        {
            "namespaces": one.look.namespaces,
            "series": one.look.series,
            "look_back": one.look.look_back,
            "slices": one.look.slices,
            "announced_queries": one.look.queries,
            "queries": one.queries,
            "seconds": round(one.seconds, 3),
            "labels": {
                "namespace": one.look.labels.namespace,
                "pod": one.look.labels.pod,
                "reporter": one.look.labels.reporter,
            },
        }
        for one in looks
    ]
