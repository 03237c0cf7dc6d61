"""What queries are made of: their scope, the labels of its scrapes, strings and matchers. No metric has a name here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, ParamSpec

import msgspec

from rollout.model.look import ScrapeLabels

P = ParamSpec("P")


#: The labels by which pods are told, the usual ones first: both are relabelling's choice, one independent of the other.
NAMESPACE_LABELS = ("namespace", "kubernetes_namespace")
POD_LABELS = ("pod", "kubernetes_pod_name", "pod_name")
PAIRS = tuple(product(NAMESPACE_LABELS, POD_LABELS))


class Scope(msgspec.Struct, frozen=True):
    """Which namespaces a query is about; `match` holds further matchers, such as `cluster="eu1"`."""

    namespaces: tuple[str, ...]
    match: str = ""
    labels: ScrapeLabels = ScrapeLabels()


def quote(text: str) -> str:
    r"""A PromQL string: `a"b` becomes `"a\"b"`."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def escape(text: str) -> str:
    """The text as a part of an RE2 expression that matches just it."""
    return "".join(f"\\{char}" if char in r".+*?()|[]{}^$" + "\\" else char for char in text)


def among(label: str, values: tuple[str, ...]) -> str:
    """A matcher for any of these values."""
    if len(values) == 1:
        return f"{label}={quote(values[0])}"
    return f"{label}=~{quote('|'.join(escape(value) for value in values))}"


def select(metric: str, scope: Scope, *matchers: str) -> str:
    """A selector with the scope's own matchers behind these; the namespaces are for the matchers to name."""
    match = scope.match.strip().strip("{},").strip()
    return f"{metric}{{{','.join([*matchers, *([match] if match else [])])}}}"


def by_pod(labels: ScrapeLabels) -> str:
    """`namespace, pod`, as this Prometheus has them."""
    return f"{labels.namespace}, {labels.pod}"


def renamed(text: str, own: str, usual: str) -> str:
    """The same rows with a label under its usual name; the text itself where it has that."""
    return text if own == usual else f'label_replace({text}, "{usual}", "$1", "{own}", "(.+)")'


def usual(text: str, labels: ScrapeLabels, *, pods: bool = True) -> str:
    """The same rows with `namespace` (and `pod`) as the names of the scrape's labels."""
    text = renamed(text, labels.namespace, "namespace")
    return renamed(text, labels.pod, "pod") if pods else text


def window(seconds: float) -> str:
    """A duration; at least a second."""
    return f"{max(1, round(seconds))}s"


REGISTRY: dict[str, Callable[..., str]] = {}
SAMPLES: dict[str, tuple[tuple[Any, ...], ...]] = {}


def examples() -> Iterator[tuple[str, str]]:
    """Name and text of every query with each of its sample arguments."""
    for name, function in REGISTRY.items():
        for arguments in SAMPLES[name]:
            yield name, function(*arguments)


#: Scopes to try queries with.
ONE = Scope(("production",))
TWO = Scope(("production", "payments"), 'cluster="eu1"')
#: Other labels of the scrape, and no reporter.
OLD = Scope(("production",), "", ScrapeLabels("kubernetes_namespace", "kubernetes_pod_name"))
BARE = Scope(("production", "payments"), 'cluster="eu1"', ScrapeLabels("namespace", "pod_name", reporter=False))


def registered(*samples: tuple[Any, ...]) -> Callable[[Callable[P, str]], Callable[P, str]]:
    """A query, with arguments to try it with."""

    def register(function: Callable[P, str]) -> Callable[P, str]:
        REGISTRY[function.__name__] = function
        SAMPLES[function.__name__] = samples
        return function

    return register


#: The label that tells to which question a row of a joint query belongs.
PART = "part"


def joint(texts: Mapping[str, str]) -> str:
    """Several questions as one. Each row is labelled before the union, which would take equal labels for one series."""
    return " or ".join(f'label_replace({text}, "{PART}", "{name}", "", "")' for name, text in texts.items())
