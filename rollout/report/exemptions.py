"""`plan --suggest-exemptions`: the block that a playbook needs for what cannot have a sidecar."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import yaml

from rollout.record.run import Run

#: How long a suggested exemption holds: an exception that nobody looks at again is a hole.
LIFE = timedelta(days=90)


def suggested(runs: Iterable[Run], now: datetime) -> list[str]:
    """The `exempt:` block, one entry for each port that a finding names, or a comment that there is none."""
    found: dict[str, str] = {}
    for run in runs:
        for result in run.checks:
            for finding in result.findings:
                if finding.exemption and not finding.waived:
                    found.setdefault(finding.exemption, f"{result.check}: {finding.measured}")
    if not found:
        return ["# no finding is one that an exemption would help"]
    entries = [_entry(name, reason, now + LIFE) for name, reason in found.items()]
    text = yaml.safe_dump({"exempt": entries}, sort_keys=False, width=1000, allow_unicode=True)
    return ["# for the playbook; each owner must be filled in", *text.rstrip("\n").split("\n")]


def _entry(name: str, reason: str, until: datetime) -> dict[str, object]:
    workload, _, port = name.rpartition(":")
    return {
        "workload": workload,
        "port": int(port),
        "reason": reason,
        "owner": "",
        "expires": f"{until:%Y-%m-%d}",
    }
