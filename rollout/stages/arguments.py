"""What a playbook's tasks can say to each state: schema, defaults and documentation in one place."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import msgspec


class Args(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base: an unknown argument is an error."""


class Verify(Args, frozen=True):
    """verify: [CHECK, …]"""

    checks: tuple[str, ...] = ()


class Permissive(Args, frozen=True):
    """permissive: how long proxies may take to prove a raised mode."""

    propagation: timedelta = timedelta(minutes=5)


class ConfirmMtls(Args, frozen=True):
    """confirm_mtls: how far back the evidence reaches."""

    look_back: timedelta = timedelta(days=8)


class Check(Args, frozen=True):
    """check: [CHECK, …] or all"""

    checks: tuple[str, ...] = ()


class Via(StrEnum):
    """Who writes the policy: this tool by a patch, or a controller that applies a commit."""

    PATCH = "patch"
    COMMIT = "commit"


class Strict(Args, frozen=True):
    """strict: budgets of the flip. `world` is how old an answer may be at the gate.

    With `via: commit` the change is proposed, and `commit_timeout` is how long the run waits until it is applied.
    """

    propagation: timedelta = timedelta(minutes=5)
    world: timedelta = timedelta(seconds=60)
    baseline: timedelta = timedelta(hours=1)
    via: Via = Via.PATCH
    commit_timeout: timedelta = timedelta(hours=1)


class OnRegression(StrEnum):
    """What a regression does."""

    ROLL_BACK = "roll_back"


class OnBlind(StrEnum):
    """What losing sight does: hold, and roll back at the deadline; or roll back at once."""

    HOLD = "hold"
    ROLL_BACK = "roll_back"


class Watch(Args, frozen=True, rename={"for_": "for"}):
    """watch: `for` is time of sight; `interval` 0 means the scrape interval, at least 15 s.

    It lasts at least a window and two intervals, so that ratios are judged twice.
    """

    for_: timedelta = timedelta(minutes=30)
    interval: timedelta = timedelta(0)
    window: timedelta = timedelta(minutes=2)
    on_regression: OnRegression = OnRegression.ROLL_BACK
    on_blind: OnBlind = OnBlind.HOLD
    blind_deadline: timedelta = timedelta(minutes=30)
    rollback_timeout: timedelta = timedelta(minutes=10)


class Approve(Args, frozen=True):
    """approve: hold the run until somebody says yes."""

    reason: str = ""


#: A keyword of the playbook, in the machine's order, and its arguments.
KEYWORDS: dict[str, type[Args]] = {
    "verify": Verify,
    "permissive": Permissive,
    "confirm_mtls": ConfirmMtls,
    "check": Check,
    "strict": Strict,
    "watch": Watch,
    "approve": Approve,
}
