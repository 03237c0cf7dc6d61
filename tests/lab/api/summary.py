"""The numbers of the replays at the end of a test run: by which client, how many of how many, and what stands apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

Entry = tuple[str, str, int, dict[str, int]]
"""(run or client, topic, answered as recorded, reason -> counted apart): what a test records as `exchanges`."""
IN_DETAIL = "plain HTTP, as recorded"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print them, wherever the tests ran (reports of xdist's workers carry their properties)."""
    reports = [report for group in ("passed", "failed") for report in terminalreporter.stats.get(group, [])]
    found = [value for report in reports for name, value in report.user_properties if name == "exchanges"]
    if found:
        terminalreporter.section("the lab against what a real kube-apiserver answered")
        for line in lines(found):
            terminalreporter.write_line(line)


def lines(entries: Iterable[Any]) -> Iterator[str]:
    """One line a run, and for the plain replay one for each topic of which something stands apart."""
    runs: dict[str, list[Entry]] = defaultdict(list)
    for run, topic, good, reasons in entries:
        runs[run].append((run, topic, good, reasons))
    for run, parts in sorted(runs.items()):
        apart: Counter[str] = Counter()
        for part in parts:
            apart.update(part[3])
        same = sum(part[2] for part in parts)
        what = f"exchanges of {len(parts)} topics" if len(parts) > 1 else parts[0][1]
        yield f"{run}: {same} of {same + apart.total()} {what}{_reasons(apart)}"
        if run == IN_DETAIL:
            for _, topic, good, reasons in sorted(parts, key=lambda part: part[1]):
                yield f"    {topic}: {good} of {good + sum(reasons.values())}{_reasons(Counter(reasons))}"


def _reasons(apart: Counter[str]) -> str:
    words = "; ".join(f"{count} {reason}" for reason, count in apart.most_common())
    return f" (apart: {words})" if words else ""
