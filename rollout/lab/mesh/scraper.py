"""Prometheus as the mesh meets it: targets found by their pods, a grid of scrapes, and stretches without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollout.lab.mesh.catalog import PodView
from rollout.lab.mesh.meter import Meter
from rollout.lab.mesh.relabel import Relabel
from rollout.lab.mesh.samples import Curve, ScrapeStorage, Series

JOB, APP_JOB = "kubernetes-pods", "application"


class Scraper:
    """Scrapes all proxies at the same instants, multiples of the interval.

    Args:
        storage: where samples go.
        interval: milliseconds.
        relabel: how the scrapes are labelled.
    """

    def __init__(self, storage: ScrapeStorage, interval: int, relabel: Relabel | None = None) -> None:
        """Know no target."""
        self._storage, self.interval = storage, interval
        self._relabel = relabel or Relabel()
        self._targets: dict[tuple[str, str], tuple[PodView, Meter, tuple[tuple[Series, Curve], ...]]] = {}
        self._gone: list[tuple[Meter, tuple[Series, ...]]] = []
        self.app_targets: Mapping[tuple[str, str, str], float] = {}
        self.away = False

    def target(self, pod: PodView) -> Meter:
        """A proxy starts: it is scraped from now on."""
        labels = {"job": JOB, "instance": f"{pod.ip}:15020", "app": pod.app, **self._relabel.target(*pod.key)}
        meter = Meter(self._storage, labels, self._relabel)
        up = self._storage.series({"__name__": "up", **labels})
        uptime = self._storage.series({"__name__": "envoy_server_uptime", **labels})
        self._targets[pod.key] = (pod, meter, ((up, _UP), (uptime, _uptime(pod.started))))
        return meter

    def drop(self, key: tuple[str, str]) -> None:
        """A proxy is gone."""
        _, meter, extra = self._targets.pop(key)
        self._gone.append((meter, tuple(series for series, _ in extra)))

    def targets(self) -> Sequence[dict[str, object]]:
        """What `/api/v1/targets` lists."""
        return [
            {
                "labels": {"job": JOB, "instance": f"{pod.ip}:15020", **self._relabel.target(*pod.key)},
                "scrapePool": JOB,
                "scrapeUrl": f"http://{pod.ip}:15020/stats/prometheus",
                "health": "up",
                "scrapeInterval": f"{self.interval // 1000}s",
            }
            for pod, *_ in self._targets.values()
        ]

    def record(self, start: int, end: int) -> None:
        """Record the scrapes after `start`, up to `end`; while Prometheus is away there are none."""
        first = start // self.interval * self.interval + self.interval
        grid = range(first, end + 1, self.interval)
        if self.away or not grid:
            return
        for _, meter, extra in self._targets.values():
            meter.record(grid)
            for series, curve in extra:
                series.extend(grid, curve)
        for (namespace, name, instance), value in self.app_targets.items():
            labels = {"job": APP_JOB, "instance": instance, **self._relabel.target(namespace, name)}
            self._storage.series({"__name__": "up", **labels}).extend(grid, _constant(value))
        for meter, ended in self._gone:
            meter.mark_stale(grid[0])
            for series in ended:
                series.mark_stale(grid[0])
        self._gone = []


def _constant(value: float) -> Curve:
    return lambda times: [value] * len(times)


_UP = _constant(1.0)


def _uptime(started: int) -> Curve:
    return lambda times: [float((t - started) // 1000) for t in times]
