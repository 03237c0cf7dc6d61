"""Which namespaces go together, and which first: `serial: [1, "25%", "100%"]`, `order: fewest_offenders`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import msgspec

from rollout.errors import MetricsError
from rollout.ports import Metrics
from rollout.record.spec import Spec
from rollout.stages.arguments import ConfirmMtls
from rollout.world.offending import offending

#: So many namespaces are named where the order is told.
SHOWN = 8


def waves(names: Sequence[str], serial: Sequence[int | str]) -> list[list[str]]:
    """Cut `names` into waves; a percentage is of all names, at least one; the last size repeats until all are taken."""
    left = list(names)
    sizes = list(serial) or ["100%"]
    cut: list[list[str]] = []
    while left:
        size = sizes[min(len(cut), len(sizes) - 1)]
        count = ceil(len(names) * int(size[:-1]) / 100) if isinstance(size, str) and size.endswith("%") else int(size)
        cut.append(left[: max(1, count)])
        left = left[max(1, count) :]
    return cut


def fewest_first(names: Sequence[str], offenders: Mapping[str, int]) -> list[str]:
    """The names with the fewest plaintext edges first; ties keep their order."""
    return sorted(names, key=lambda name: offenders.get(name, 0))


def in_order(
    names: Sequence[str], order: str, serial: Sequence[int | str], specs: Mapping[str, Spec], metrics: Metrics
) -> tuple[list[str], str]:
    """The names as the waves take them, and what is to be said of it ('' for nothing).

    Args:
        names: in the order of the command line.
        order: `given`, `name`, or `fewest_offenders`, which asks Prometheus once for all of them, and only where there
            is more than one wave: within one nobody goes first.
        serial: the sizes of the waves.
        specs: the assignments, which hold look-back and matchers.
        metrics: without an answer the order of the command line stays, and that is said.
    """
    if order == "name":
        return sorted(names), ""
    if order == "given" or len(waves(names, serial)) < 2:
        return list(names), ""
    first = specs[names[0]]
    task = first.task("confirm_mtls")
    look_back = msgspec.convert(task.args if task else {}, ConfirmMtls).look_back
    try:
        offenders = offending(names, look_back, first.metrics_match, metrics)
    except MetricsError as error:
        return list(names), f"Waves in the order of the command line: plaintext is not known ({error.problem})"
    found = fewest_first(names, offenders)
    told = ", ".join(f"{name} {offenders[name]}" for name in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return found, f"Waves by plaintext edges, fewest first: {told}{more}"
