"""By which labels does this Prometheus name a scraped pod, and do the proxies' reports still say who reports?

Asked once of the series of our own namespaces, and kept in the world: no tick asks it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rollout.errors import QueryTooHeavy
from rollout.model.look import ScrapeLabels
from rollout.ports import Metrics, Sample
from rollout.world import queries
from rollout.world.promql import NAMESPACE_LABELS, PAIRS, PART, POD_LABELS, Scope
from rollout.world.scrapes import SightMetric

#: How to keep the label, wherever it was dropped.
KEEP = "keep it: no labeldrop and no aggregation over it in Prometheus, no tagOverrides in a Telemetry"


def detected(namespaces: Iterable[str], match: str, metrics: Metrics, at: datetime) -> ScrapeLabels | None:
    """The labels of this Prometheus; None where it shows no proxy of the namespaces, so that asking again may help.

    Raises:
        MetricsError: Prometheus does not answer.
    """
    scope = Scope(tuple(sorted(set(namespaces))), match)
    try:
        return chosen(metrics.query(queries.conventions(scope), at).samples)
    except QueryTooHeavy:
        texts = (queries.conventions(scope, (part,)) for part in queries.CONVENTIONS)
        return chosen([row for text in texts for row in metrics.query(text, at).samples])


def chosen(rows: Sequence[Sample]) -> ScrapeLabels | None:
    """From the answer of `queries.conventions`: the best metric that shows a proxy decides, by the commonest pair.

    Where two pairs show as many, each by the other's series, the usual one is taken.
    """
    shown = {(row.labels.get("__name__", ""), row.labels[PART]): row.value for row in rows}
    dropped = any(part == queries.NO_REPORTER for _, part in shown)
    for metric in SightMetric:
        pairs = [pair for pair in PAIRS if (metric, " ".join(pair)) in shown]
        if pairs:
            best = max(pairs, key=lambda pair: shown[metric, " ".join(pair)])  # the first of equals
            return ScrapeLabels(*best, reporter=not dropped)
    return None


def looked_for() -> str:
    """The labels that are known, for a sentence."""
    return f"{' or '.join(NAMESPACE_LABELS)}, and {', '.join(POD_LABELS[:-1])} or {POD_LABELS[-1]}"


DROPPED = (
    "the label reporter is dropped: who reports is told by connection_security_policy, "
    "which a caller's proxy always says is unknown"
)


def untold(rows: Sequence[Sample], labels: ScrapeLabels) -> dict[str, str]:
    """Of the answers of `queries.unattributed`: by destination namespace, whose report it is that may be plaintext.

    A caller's Envoy names its own workload's namespace, in which it is scraped; whatever does not fit that may come
    from the destination.
    """
    found: dict[str, str] = {}
    for row in rows:
        source, scraped = row.labels.get("source_workload_namespace", ""), row.labels.get(labels.namespace, "")
        if row.labels.get("reporter") or source in ("", "unknown") or source != scraped:
            where = f"scraped in {scraped}" if scraped else f"without the label {labels.namespace}"
            found.setdefault(row.labels.get("destination_workload_namespace", ""), f"from {source or '?'}, {where}")
    return found
