"""No Prometheus is named: which Services look like one? Asked of a person, and never guessed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rollout.cli.output import complain
from rollout.errors import ClusterError, UsageError
from rollout.model.kubernetes import Service
from rollout.ports import Cluster
from rollout.world.stores import Store, stores

_FORMS = "--prometheus http://HOST:9090, or --prometheus SERVICE.NAMESPACE:PORT through the API server"


class Unnamed(UsageError):
    """No Prometheus is named; `problems` has a line to type for each Service that looks like one."""

    def __init__(self, problem: str, found: Sequence[Store] = ()) -> None:
        """Each of them is a way on; without any, the two forms are."""
        self.problems = tuple(f"--prometheus {one.address}" + ("  (headless)" if one.headless else "") for one in found)
        super().__init__(problem, where="--prometheus", next=self.problems[0] if self.problems else _FORMS)

    def lines(self) -> list[str]:
        """The others follow the first one."""
        return [*super().lines(), *(f"    {'or':<7} {line}" for line in self.problems[1:])]


def found_or_asked(args: Any, cluster: Cluster) -> str:
    """The address that a person at a terminal chooses; the next commands repeat it.

    Raises:
        UsageError: nobody is there to be asked, no Service looks like one, or none of them is it.
    """
    try:
        seen = stores(cluster.list(Service))
    except ClusterError as error:
        why = f"the cluster's Services cannot be looked through: {error.problem}"
        raise Unnamed(f"no Prometheus is named, and {why}") from error
    if not seen:
        raise Unnamed("no Prometheus is named")
    many = f"{len(seen)} Services look like one" if len(seen) > 1 else f"the Service {seen[0]} looks like one"
    chosen = _asked(seen) if _somebody(args) else None
    if chosen is None:
        raise Unnamed(f"no Prometheus is named, and {many}", seen)
    args.prometheus = chosen.address
    return chosen.address


def hint(cluster: Cluster) -> str:
    """The lines to type for a run that goes on without one: it is not broken off for a question; '' for none."""
    try:
        seen = stores(cluster.list(Service))
    except ClusterError:
        return ""
    return ", or ".join(f"--prometheus {one.address}" for one in seen)


def _somebody(args: Any) -> bool:
    """A person sits at it, who did not ask to be left alone and reads no document."""
    left_alone = getattr(args, "yes", False) or getattr(args, "confirm", None) is not None
    return not left_alone and args.output == "text" and sys.stdin is not None and sys.stdin.isatty() and _seen()


def _seen() -> bool:
    return sys.stderr.isatty()


def _asked(seen: Sequence[Store]) -> Store | None:
    """On stderr: stdout may be a file."""
    if len(seen) == 1:
        answer = _answer(f"No Prometheus is named. Use {seen[0]}? [y/N] ")
        return seen[0] if answer.lower() in ("y", "yes") else None
    rows = "".join(f"  {number}  {one}\n" for number, one in enumerate(seen, 1))
    answer = _answer(f"No Prometheus is named. These Services look like one:\n{rows}Which one? [1-{len(seen)}/N] ")
    return seen[int(answer) - 1] if answer.isdecimal() and 1 <= int(answer) <= len(seen) else None


def _answer(question: str) -> str:
    complain(question)
    return sys.stdin.readline().strip()
