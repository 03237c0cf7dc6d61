"""What a check sees: two worlds and the traffic, and no more of them than it declared in READS.

Declared reads are what the collector fetches; a check that reads more would work on a developer's machine and be
`unknown` in a run, so it fails here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from rollout.mesh.peer_authentication import Policies
from rollout.mesh.services import Backends
from rollout.mesh.strict import strict_services
from rollout.mesh.synchronization import Connections
from rollout.model.finding import Finding
from rollout.model.istio import MeshConfig, PeerAuthentication
from rollout.model.kubernetes import Object, Pod, Service
from rollout.model.traffic import Evidence
from rollout.ports import AnalyzerMessage
from rollout.world.certificates import Certified
from rollout.world.reads import Objects
from rollout.world.world import Unreadable, World

T = TypeVar("T", bound=Object)
V = TypeVar("V")

#: What a check's function is: it yields what is wrong and returns what it looked at ('' for nothing to say).
Findings = Generator[Finding, None, str]


class UndeclaredRead(Exception):
    """A check read what its READS do not name."""


class CannotTell(Exception):
    """The check has no data to judge by: its status becomes UNKNOWN, with this reason."""


class NotChecked(Exception):
    """The check's tool is not there: its status becomes SKIPPED, with this reason."""


class _Record:
    """What one check may read (None: everything), and what it did read."""

    def __init__(self, declared: frozenset[type] | None) -> None:
        self.declared = declared
        self.seen: set[type] = set()

    def note(self, kind: type) -> None:
        if self.declared is not None and kind not in self.declared:
            raise UndeclaredRead(f"{kind.__name__} is not in READS")
        self.seen.add(kind)


class Lens:
    """One world, as a check may see it."""

    def __init__(self, world: World, record: _Record, target: str, root_namespace: str, made: dict[str, Any]) -> None:
        """Keep the world behind the record; `made` is what several checks make of it."""
        self._world = world
        self._record = record
        self._target = target
        self._root_namespace = root_namespace
        self._made = made

    def of(self, kind: type[T], namespace: str = "") -> tuple[T, ...]:
        """All objects of a kind, or those of one namespace; a kind that is not installed has none.

        Raises:
            UndeclaredRead: READS does not name the kind.
            KindUnreadable: it could not be read; the check becomes UNKNOWN.
            Needs: nobody read it yet; the stage reads it and asks again.
        """
        self._record.note(kind)
        return self._world.of(kind, namespace)

    def derived(self, kind: type[T], make: Callable[..., V], *args: Hashable) -> V:
        """What a pure function makes of all objects of a kind, computed once for all namespaces; counts as a read.

        Raises:
            UndeclaredRead, KindUnreadable, Needs: as `of`.
        """
        self._record.note(kind)
        return self._world.derived(kind, make, *args)

    def joined(self, kinds: tuple[type[Object], ...], make: Callable[..., V]) -> V:
        """The same of several kinds, an argument each: the biggest first.

        Raises:
            UndeclaredRead, KindUnreadable, Needs: as `of`.
        """
        for kind in kinds:
            self._record.note(kind)
        return self._world.joined(kinds, make)

    def policies(self) -> Policies:
        """The PeerAuthentications, ready to be asked for the modes of the target's pods; counts as a read of them."""
        self._record.note(PeerAuthentication)
        if "policies" not in self._made:
            found = self._world.policies(self._target, self._root_namespace)
            self._made["policies"] = Policies(found, self._root_namespace)
        policies: Policies = self._made["policies"]
        return policies

    def strict_services(self) -> tuple[tuple[Service, tuple[int, ...]], ...]:
        """The target's Services that lead to a port which refuses plaintext, with those of their own ports that do.

        Counts as a read of Services, Pods and PeerAuthentications.
        """
        services, backends, policies = self.of(Service, self._target), self.derived(Pod, Backends), self.policies()
        if "strict services" not in self._made:
            self._made["strict services"] = strict_services(services, backends, policies)
        found: tuple[tuple[Service, tuple[int, ...]], ...] = self._made["strict services"]
        return found


@lru_cache
def _objects(declared: frozenset[type]) -> tuple[type[Object], ...]:
    return tuple(sorted((kind for kind in declared if issubclass(kind, Object)), key=lambda kind: kind.__name__))


class View:
    """`now` is what is there, `then` the same after the flip, `target` the namespace that is asked about.

    A dry run's `now` has the changes of its earlier states; `as_read` has none: it is what the evidence was made under.

    Args:
        evidence: the look-back's traffic; None when nobody has read it.
        analysis: istioctl's messages; None or Unreadable without istioctl.
        certificates: what proxies hold; None or Unreadable where they could not be asked.
        synced: what istiod knows of its proxies; None or Unreadable without istioctl.
        terminal: a human sits at it and may accept an idle namespace.
        allow_idle: the same, said beforehand.
    """

    def __init__(
        self,
        *,
        now: World,
        then: World,
        target: str,
        root_namespace: str = "istio-system",
        evidence: Evidence | None = None,
        analysis: tuple[AnalyzerMessage, ...] | Unreadable | None = None,
        mesh_config: MeshConfig | None = None,
        certificates: Certified | Unreadable | None = None,
        synced: Connections | Unreadable | None = None,
        terminal: bool = False,
        allow_idle: bool = False,
        declared: frozenset[type] | None = None,
        made: tuple[dict[str, Any], dict[str, Any]] | None = None,
    ) -> None:
        """Without `declared` everything may be read; `made` is what was made of the two worlds already."""
        self._worlds = (now, then)
        self._made = made or ({}, {})
        self._evidence = evidence
        self._analysis = analysis
        self._certificates = certificates
        self._synced = synced
        self._record = _Record(declared)
        self.now = Lens(now, self._record, target, root_namespace, self._made[0])
        self.as_read = Lens(World(now.readings), self._record, target, root_namespace, {})
        self.then = Lens(then, self._record, target, root_namespace, self._made[1])
        self.target = target
        self.root_namespace = root_namespace
        self.mesh_config = mesh_config or MeshConfig(root_namespace=root_namespace)
        self.terminal = terminal
        self.allow_idle = allow_idle

    def limited(self, reads: tuple[type, ...], *, without_flip: bool = False) -> View:
        """The same with only these reads; `without_flip` makes `then` equal to `now`."""
        now, then = self._worlds
        made = self._made
        return View(
            now=now,
            then=now if without_flip else then,
            made=(made[0], made[0]) if without_flip else made,
            target=self.target,
            root_namespace=self.root_namespace,
            evidence=self._evidence,
            analysis=self._analysis,
            certificates=self._certificates,
            synced=self._synced,
            mesh_config=self.mesh_config,
            terminal=self.terminal,
            allow_idle=self.allow_idle,
            declared=frozenset(reads),
        )

    def remembered(self, name: str, make: Callable[[], V]) -> V:
        """`make()`, a pure function of what this view declares, once for each set of answers and changes.

        Every state asks all checks of a world that did not change since the last one. What reads traffic or istioctl's
        messages is made each time.
        """
        then = self._worlds[1]
        declared = self._record.declared or frozenset()
        kinds = _objects(declared)
        readings = tuple(then.readings.get(Objects(kind)) for kind in kinds)
        if len(kinds) < len(declared) or not kinds or None in readings:
            return make()
        # The pods are the biggest answer: what refers to it goes when it goes.
        holder = then.readings[Objects(Pod if Pod in kinds else kinds[0])]
        key = (name, readings, self._said())
        if key not in holder.made:
            holder.made[key] = make()
        found: V = holder.made[key]
        return found

    def _said(self) -> bytes:
        """What a check may know besides the answers."""
        now, then = self._worlds
        if "said" not in self._made[1]:
            known = (self.target, self.root_namespace, self.mesh_config, self.terminal, self.allow_idle)
            self._made[1]["said"] = msgspec.json.encode(known)
        said: bytes = self._made[1]["said"]
        return said + msgspec.json.encode((now.changes, then.changes))

    @property
    def changed(self) -> bool:
        """`then` differs from `now`."""
        now, then = self._worlds
        return now is not then and now.changes != then.changes

    @property
    def seen(self) -> frozenset[type]:
        """What was read through this view."""
        return frozenset(self._record.seen)

    @property
    def evidence_or_none(self) -> Evidence | None:
        """The same for the runner, which measures the rates of waivers and declares nothing."""
        return self._evidence

    @property
    def evidence(self) -> Evidence:
        """The look-back's traffic. Raises CannotTell when there is none."""
        self._record.note(Evidence)
        if self._evidence is None:
            raise CannotTell("no traffic evidence has been read")
        return self._evidence

    @property
    def analysis(self) -> tuple[AnalyzerMessage, ...]:
        """What istioctl says. Raises NotChecked without istioctl."""
        self._record.note(AnalyzerMessage)
        if self._analysis is None:
            raise NotChecked("istioctl was not run")
        if isinstance(self._analysis, Unreadable):
            raise NotChecked(self._analysis.reason)
        return self._analysis

    @property
    def certificates(self) -> Certified:
        """What proxies hold. Raises NotChecked where they could not be asked."""
        self._record.note(Certified)
        if self._certificates is None:
            raise NotChecked("no proxy was asked")
        if isinstance(self._certificates, Unreadable):
            raise NotChecked(self._certificates.reason)
        return self._certificates

    @property
    def synced(self) -> Connections:
        """What istiod knows of its proxies. Raises NotChecked where no istioctl could ask it."""
        self._record.note(Connections)
        if self._synced is None:
            raise NotChecked("istioctl was not run")
        if isinstance(self._synced, Unreadable):
            raise NotChecked(self._synced.reason)
        return self._synced
