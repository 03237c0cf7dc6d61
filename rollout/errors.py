"""What can end badly, and the one table of ends.

RolloutError                    a sentence for people, and the outcome it leads to
├── UsageError                  2   the command line or an input file is wrong
├── ClusterError                4   the Kubernetes API did not do what was asked
│   ├── Unreachable             4   no answer: connection, timeout, 5xx (worth another try)
│   │   └── Overloaded          4   429 or 503 with Retry-After
│   ├── Unauthorized            4   401: credentials expired or unknown
│   ├── Forbidden               3   403: a right is missing
│   ├── NotFound                4   404: no such object, or no such kind
│   ├── Conflict                4   409: somebody wrote first
│   ├── Exists                  4   409 with reason AlreadyExists
│   ├── Gone                    4   410: a paging token or resourceVersion expired
│   └── Rejected                3   400, 415, 422, or an admission webhook said no
├── MetricsError                4   Prometheus did not do what was asked
│   ├── MetricsUnreachable      4   no answer (worth another try)
│   ├── MetricsRefused          4   401, 403, a login page: permanent until somebody acts
│   ├── QueryTooHeavy           4   422 or a timeout: ask for less
│   └── BadQuery                4   400: a bug of ours, or no Prometheus
├── NoProgram                   4   a program that would be asked is not on this machine
├── RecordError                 3   a journal that cannot be read, or that cannot be true
└── NotOurs                     9   another run holds the lease, or took this run over
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class _Row(NamedTuple):
    label: str
    exit_code: int
    rank: int
    meaning: str
    changed: str


class Outcome(Enum):
    """How a run, a plan or a command ends: label, exit code, rank in a batch (0 is the worst).

    The tables in the docs and in `rollout help exit-codes` are printed from this enum.
    """

    ENFORCED = _Row("enforced", 0, 9, "STRICT, and watched to the end without regression", "as asked")
    UNCHANGED = _Row("enforced (unchanged)", 0, 9, "STRICT already: nothing to do", "no")
    UNOBSERVED = _Row("enforced, unobserved", 0, 9, "STRICT; there was no traffic to judge", "as asked")
    EXCEPTIONS = _Row("enforced, with exceptions", 0, 9, "STRICT but for the exceptions that are named", "as asked")
    WOULD_PASS = _Row("would pass", 0, 9, "plan: nothing stands in the way", "no")
    DONE = _Row("done", 0, 9, "the command did what it says", "no")
    BUG = _Row("unexpected error", 1, 1, "a bug of rollout; a debug file was written", "the journal tells")
    USAGE = _Row("usage", 2, 2, "usage or playbook invalid, or no such namespace", "no")
    BLOCKED = _Row(
        "blocked",
        3,
        6,
        "a check or the evidence says no; foreign owner, missing right, refused namespace, no Istio",
        "at most to PERMISSIVE",
    )
    CANNOT_SEE = _Row(
        "cannot see",
        4,
        5,
        "cluster or Prometheus unreachable, no data, or a check is unknown",
        "at most to PERMISSIVE",
    )
    ROLLED_BACK = _Row(
        "rolled_back",
        5,
        3,
        "taken back, and proven: regression, `rollback`, or a stop after the flip",
        "the mode before",
    )
    ROLLBACK_FAILED = _Row(
        "rollback_failed", 6, 0, "the way back failed or is not proven: a human is needed", "yes, partly"
    )
    PAUSED = _Row("paused", 7, 8, "before the flip: approval, hold, or --until reached", "at most to PERMISSIVE")
    PENDING = _Row("changes pending", 8, 8, "only with --detailed-exitcode: changes pending, or drift", "no")
    NOT_OURS = _Row(
        "not ours",
        9,
        7,
        "the plan is stale, or another run holds the lease or took this run over",
        "not by this process",
    )
    OVERRIDDEN = _Row("overridden", 10, 4, "somebody else changed the mode during the run", "theirs")
    INTERRUPTED = _Row(
        "interrupted",
        130,
        10,
        "stopped before the flip, or after it with --on-stop leave",
        "see the last line",
    )
    TERMINATED = _Row(
        "terminated",
        143,
        10,
        "SIGTERM before the flip, or after it with --on-stop leave",
        "see the last line",
    )

    @property
    def label(self) -> str:
        """The words that people see."""
        return self.value.label

    @property
    def exit_code(self) -> int:
        """The process' exit status."""
        return self.value.exit_code

    @property
    def rank(self) -> int:
        """Place in a batch: the lowest one names the batch's end."""
        return self.value.rank

    @property
    def meaning(self) -> str:
        """One line for the table."""
        return self.value.meaning

    @property
    def changed(self) -> str:
        """What may have changed in the cluster."""
        return self.value.changed


def worst(outcomes: list[Outcome]) -> Outcome:
    """The end of a batch: the worst of its namespaces' ends.

    An interrupted batch is 130 or 143 unless something in it is 6, 1 or 5.
    """
    if not outcomes:
        return Outcome.DONE
    first = min(outcomes, key=lambda outcome: outcome.rank)
    stopped = [o for o in outcomes if o in (Outcome.INTERRUPTED, Outcome.TERMINATED)]
    if stopped and first not in (Outcome.ROLLBACK_FAILED, Outcome.BUG, Outcome.ROLLED_BACK):
        return stopped[0]
    return first


class RolloutError(Exception):
    """A sentence for people.

    Args:
        problem: what is wrong, with what was measured, as one sentence without a full stop.
        limit: what was expected instead ('' when that is obvious).
        where: the file, object, URL or flag.
        next: the command or the deed that helps.
    """

    outcome = Outcome.BUG

    def __init__(
        self,
        problem: str,
        *,
        limit: str = "",
        where: str = "",
        next: str = "",  # noqa: A002
        outcome: Outcome | None = None,
    ) -> None:
        """Keep the parts apart, so that each format can set them."""
        super().__init__(problem)
        self.problem = problem
        self.limit = limit
        self.where = where
        self.next = next
        if outcome is not None:
            self.outcome = outcome

    def lines(self) -> list[str]:
        """The sentence and its details, one a line, for a terminal."""
        rows = [("limit", self.limit), ("where", self.where), ("next", self.next)]
        return [self.problem, *(f"    {name:<7} {text}" for name, text in rows if text)]


class UsageError(RolloutError):
    """The command line or an input file is wrong."""

    outcome = Outcome.USAGE


class NoProgram(RolloutError):
    """A program that would be asked is not on this machine: what it would tell is skipped, not unknown."""

    outcome = Outcome.CANNOT_SEE


class ClusterError(RolloutError):
    """The Kubernetes API did not do what was asked; `status` is the HTTP status, 0 without an answer."""

    outcome = Outcome.CANNOT_SEE
    status = 0


class Unreachable(ClusterError):
    """No answer, or a 5xx: the request may or may not have been carried out."""


class Overloaded(Unreachable):
    """429, or 503 with Retry-After: not carried out; `retry_after` in seconds."""

    status = 429
    retry_after = 1.0


class Unauthorized(ClusterError):
    """401: the credentials expired or are unknown."""

    status = 401


class Forbidden(ClusterError):
    """403: a right is missing."""

    outcome = Outcome.BLOCKED
    status = 403


class NotFound(ClusterError):
    """404: no such object, or no such kind on this server."""

    status = 404


class Conflict(ClusterError):
    """409: somebody wrote first."""

    status = 409


class Exists(ClusterError):
    """409 with reason AlreadyExists."""

    status = 409


class Gone(ClusterError):
    """410: a paging token or a resourceVersion is too old."""

    status = 410


class Rejected(ClusterError):
    """400, 415, 422, or an admission webhook's refusal; the message is the server's."""

    outcome = Outcome.BLOCKED
    status = 422


class MetricsError(RolloutError):
    """Prometheus did not do what was asked."""

    outcome = Outcome.CANNOT_SEE


class MetricsUnreachable(MetricsError):
    """No answer, or a 5xx."""


class MetricsRefused(MetricsError):
    """401, 403, or something that is no Prometheus (a login page)."""


class QueryTooHeavy(MetricsError):
    """422 or a timeout: a shorter range may pass."""


class BadQuery(MetricsError):
    """400: Prometheus does not understand the query."""


class RecordError(RolloutError):
    """A journal that cannot be read, or that says what cannot be true."""

    outcome = Outcome.BLOCKED


class NotOurs(RolloutError):
    """Another run holds the lease, or took this run over."""

    outcome = Outcome.NOT_OURS
