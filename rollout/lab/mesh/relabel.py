"""Relabelling of the scrapes: by which labels Prometheus names a pod, and which of the proxies' labels it drops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relabel:
    """What the scrape configuration makes of its targets.

    Attributes:
        namespace, pod: the labels for the namespace and the name of the scraped pod.
        drop: labels that `metric_relabel_configs` drops. Only `reporter`: without another label two series of one
            proxy could become the same, and which of their samples Prometheus keeps is chance.
    """

    namespace: str = "namespace"
    pod: str = "pod"
    drop: tuple[str, ...] = ()

    def target(self, namespace: str, pod: str) -> dict[str, str]:
        """The labels of a scraped pod."""
        return {self.namespace: namespace, self.pod: pod}

    def kept(self, labels: Mapping[str, str]) -> dict[str, str]:
        """What is left of a series' own labels."""
        return {name: value for name, value in labels.items() if name not in self.drop}


#: As most have it.
USUAL = Relabel()
