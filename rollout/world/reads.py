"""What can be asked of the world, as values: stages name reads, the collector answers them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rollout.model.kubernetes import Object
from rollout.ports import Right
from rollout.record.change import Change


class Objects(msgspec.Struct, frozen=True):
    """All objects of a kind, whole cluster; answered by a tuple of them."""

    kind: type[Object]


class Rights(msgspec.Struct, frozen=True):
    """Which of these rights are missing; answered by a tuple of Right."""

    rights: tuple[Right, ...]


class DryRun(msgspec.Struct, frozen=True):
    """Would the server take this change? Answered by '' for yes, or the refusal's words."""

    change: Change


class Traffic(msgspec.Struct, frozen=True):
    """The look-back of a namespace; answered by Evidence. `holes` are spans that prove nothing.

    `since` is when plaintext began to be accepted, where that is known to be inside the window.
    """

    namespace: str
    look_back: float
    match: str = ""
    holes: tuple[tuple[datetime, datetime], ...] = ()
    since: datetime | None = None


class Before(msgspec.Struct, frozen=True):
    """A namespace before the flip, over `window` seconds; answered by Baseline."""

    namespace: str
    window: float
    match: str = ""


class Observed(msgspec.Struct, frozen=True):
    """A namespace over the last `window` seconds; answered by Observation."""

    namespace: str
    window: float
    match: str = ""


class Propagation(msgspec.Struct, frozen=True):
    """Whether proxies took a listener update since `since`; answered by PropagationAnswer."""

    namespace: str
    since: datetime
    match: str = ""


class Analysis(msgspec.Struct, frozen=True):
    """`istioctl analyze`; answered by a tuple of AnalyzerMessage."""

    namespace: str


class ReferencedConfigMaps(msgspec.Struct, frozen=True):
    """ConfigMaps that suspects reference, at most 50: `namespace/name`; answered by a tuple of ConfigMap."""

    names: tuple[str, ...]


Read = Objects | Rights | DryRun | Traffic | Before | Observed | Propagation | Analysis | ReferencedConfigMaps


class PropagationAnswer(msgspec.Struct, frozen=True):
    """Per proxy (pod name): took an update, rejected one, is draining; `unseen` had no sample."""

    updated: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    newest: datetime | None = None
    query: str = ""
