"""How a server's own proxy counted the probe's calls: what no client sees, whether they were mutual TLS."""

from __future__ import annotations

import re

from rollout.world.queries import OPENED, REQUESTS

_SAMPLE = re.compile(r"^(?P<metric>\w+)\{(?P<labels>.*)\} (?P<value>[0-9.e+]+)$")
_LABEL = re.compile(r'(?P<name>\w+)="(?P<value>[^"]*)"')


def mutual_calls(page: bytes, caller: str) -> int:
    """Calls of this workload that the proxy took over mutual TLS: a plaintext caller has no name there.

    Args:
        page: the proxy's metrics, as Prometheus scrapes them.
        caller: the name of a workload that nobody else has.
    """
    found = 0.0
    name = caller.encode()
    for line in page.splitlines():
        if name not in line:
            continue
        sample = _SAMPLE.match(line.decode(errors="replace").strip())
        if sample is None or sample["metric"] not in (REQUESTS, OPENED):
            continue
        labels = {each["name"]: each["value"] for each in _LABEL.finditer(sample["labels"])}
        mutual = labels.get("connection_security_policy") == "mutual_tls"
        if mutual and labels.get("reporter") == "destination" and labels.get("source_workload") == caller:
            found += float(sample["value"])
    return round(found)
