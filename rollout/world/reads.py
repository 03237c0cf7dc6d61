"""What can be asked of the world, as values: stages name reads, the collector answers them."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from rollout.model.kubernetes import Job, Object
from rollout.model.kubernetes.happenings import Happening
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

    `since` is when plaintext began to be accepted, where that is known to be inside the window. `periods` asks besides
    whether every CronJob that may call in plaintext has run in the time that counts: of the whole look-back only.
    `short`: where Prometheus knows less than the look-back, what it knows is the look-back.
    """

    namespace: str
    look_back: float
    match: str = ""
    holes: tuple[tuple[datetime, datetime], ...] = ()
    since: datetime | None = None
    periods: bool = False
    short: bool = False


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


class Ownership(msgspec.Struct, frozen=True):
    """Whose proxies Prometheus shows in a namespace; answered by OwnershipAnswer. `again`: the second look."""

    namespace: str
    match: str = ""
    again: bool = False


class Beside(msgspec.Struct, frozen=True):
    """A namespace's Jobs, failed probes and failed webhook calls; answered by BesideAnswer with every Observed."""

    namespace: str


class Labelling(msgspec.Struct, frozen=True):
    """How Prometheus names what it scrapes; answered by ScrapeLabels, with whatever asks Prometheus first."""

    match: str = ""


class Analysis(msgspec.Struct, frozen=True):
    """`istioctl analyze`; answered by a tuple of AnalyzerMessage."""

    namespace: str


class ProxyStatus(msgspec.Struct, frozen=True):
    """`istioctl proxy-status`, the whole mesh; answered by Connections."""


class Certificates(msgspec.Struct, frozen=True):
    """What proxies of a namespace and of its callers hold, of a few pods; answered by Certified.

    `spare`: of so many namespaces at once that not each of them has a pod that is asked.
    """

    namespace: str
    spare: bool = False


class ReferencedConfigMaps(msgspec.Struct, frozen=True):
    """ConfigMaps that suspects reference, at most 50: `namespace/name`; answered by a tuple of ConfigMap."""

    names: tuple[str, ...]


Read = (
    Objects
    | Rights
    | DryRun
    | Traffic
    | Before
    | Observed
    | Propagation
    | Ownership
    | Beside
    | Labelling
    | Analysis
    | ProxyStatus
    | Certificates
    | ReferencedConfigMaps
)

#: How much older than the rest of the world an answer of another program may be.
SLOW = timedelta(minutes=10)


def patience(read: Read) -> timedelta:
    """By how much its answer may be too old.

    What asks many proxies or starts another program takes up to minutes: if its answer had to be as young as the lists
    that were read beside it, it would be too old whenever it arrived, and be asked for without end.
    """
    return SLOW if isinstance(read, Analysis | ProxyStatus | Certificates) else timedelta(0)


class OwnershipAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whose proxies are there.

    Args:
        expected: our proxies that Prometheus should show.
        seen: those that it shows.
        foreign: pods with samples younger than two scrapes that the API server does not know.
        ours: a matcher that only our series fulfil, such as `cluster="eu1"`; '' where no label tells.
        clusters: matchers of all clusters that share the namespace, where a label names them.
        query: shows them with their labels.
    """

    expected: int = 0
    seen: int = 0
    foreign: tuple[str, ...] = ()
    ours: str = ""
    clusters: tuple[str, ...] = ()
    query: str = ""


class BesideAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is not permitted, or not scraped, is empty; `webhooks` are failed calls within `window` seconds, by name."""

    jobs: tuple[Job, ...] = ()
    events: tuple[Happening, ...] = ()
    webhooks: dict[str, float] = {}
    window: float = 0.0
    query: str = ""


class PropagationAnswer(msgspec.Struct, frozen=True):
    """Per proxy (pod name): took an update, rejected one, is draining; no sample now (`unseen`), none then (`new`)."""

    updated: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    newest: datetime | None = None
    query: str = ""
