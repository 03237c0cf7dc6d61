"""Everything the loop does to the outside, over the ports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from rollout.errors import ClusterError, NotOurs
from rollout.model.look import Announce, nobody
from rollout.ports import Analyzer, Clock, Cluster, Heard, Journal, Lease, Metrics, Proxies, Publisher
from rollout.record.events import NOTES, Fact, Intended, Moved, Note, Noted, Requested
from rollout.record.run import Run, apply
from rollout.world.collector import collect
from rollout.world.reads import Read
from rollout.world.world import World

#: With a lease to renew and requests to hear, no sleep is longer.
SLICE = timedelta(seconds=10)


class Listener(Protocol):
    """Whoever shows what happens."""

    def event(self, before: Run, after: Run, event: Fact | Note) -> None:
        """Something happened."""
        ...

    def waiting(self, runs: Iterable[Run], why: Iterable[str], now: datetime) -> None:
        """Nothing happens until later."""
        ...


class IO:
    """The ports of one command, and what could not be recorded yet."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        metrics: Metrics,
        analyzer: Analyzer,
        journal: Journal,
        lease: Lease | None,
        clock: Clock,
        listener: Listener,
        stopped: Callable[[], str] = lambda: "",
        insisted: Callable[[], bool] = lambda: False,
        guard: Callable[[Callable[[], object]], object] = lambda work: work(),
        publisher: Publisher | None = None,
        proxies: Proxies | None = None,
        blind_deadline: timedelta = timedelta(minutes=30),
        announce: Announce = nobody,
    ) -> None:
        """`stopped` gives the signal's name once a stop was asked for, `insisted` that it was asked for twice.
        `lease` None means that none is held, `proxies` None that they are not asked; `announce` hears of look-backs.

        `guard` does what a stop may break off (reads and sleeps) and gives None when it did.
        """
        self.cluster = cluster
        self.publisher = publisher
        self._proxies = proxies
        self._metrics = metrics
        self._analyzer = analyzer
        self._journal = journal
        self._lease = lease
        self._clock = clock
        self._listener = listener
        self.stopped = stopped
        self.insisted = insisted
        self._guard = guard
        self._blind_deadline = blind_deadline
        self._announce = announce
        self._unsaved: dict[str, list[Fact | Note]] = {}
        self._known_requests: set[tuple[str, str, datetime, str]] = set()
        self._unsaved_since: datetime | None = None

    def now(self) -> datetime:
        """The clock's time."""
        return self._clock.now()

    def read(self, world: World, reads: Iterable[Read]) -> World:
        """The world with these answers; what cannot be read is an Unreadable."""
        wanted, now = tuple(reads), self.now()
        ports = (self.cluster, self._metrics, self._analyzer)
        answers = self._guard(lambda: collect(wanted, *ports, world, now, self._proxies, self._announce))
        return world.plus(answers) if isinstance(answers, dict) else world

    def append(self, run: Run, event: Fact | Note) -> Run:
        """Record an event and fold it.

        Requests that came in meanwhile are folded first; an Intended or Moved is then dropped, and decided again.
        After a flip a failed append stops nothing: the event is kept and saved later.

        Raises:
            NotOurs: somebody else works on the run.
            ClusterError: before the flip: nothing may be done that is not recorded.
        """
        if isinstance(event, NOTES):
            note = msgspec.structs.replace(event, seq=run.seq)
            self._journal.append(run.id, run.spec.record_namespace, note)
            self._listener.event(run, run, note)
            return run
        while True:
            numbered = msgspec.structs.replace(event, seq=run.seq + 1)
            apply(run, numbered)  # what the table of states refuses must not reach the journal
            try:
                self._save(run, numbered)
            except Heard as heard:
                for request in heard.requests:
                    run = self._told(run, request)
                if isinstance(event, Intended | Moved):
                    return run
                continue
            return self._fold(run, numbered)

    def _fold(self, run: Run, event: Fact) -> Run:
        after = apply(run, event)
        self._listener.event(run, after, event)
        return after

    def _save(self, run: Run, event: Fact) -> None:
        waiting = self._unsaved.get(run.id, [])
        try:
            while waiting:
                self._journal.append(run.id, run.spec.record_namespace, waiting[0])
                waiting.pop(0)
            self._journal.append(run.id, run.spec.record_namespace, event)
            self._unsaved_since = None
        except ClusterError as error:
            if run.flip is None and not any(w.undone for w in run.writes):
                raise
            if not self._unsaved.get(run.id):
                said = f"the journal cannot be written, the mirror has it: {error.problem}"
                self._listener.event(run, run, Noted(t=self.now(), seq=run.seq, text=said))
            self._unsaved.setdefault(run.id, []).append(event)
            self._unsaved_since = self._unsaved_since or self.now()

    def unsaved(self, run: Run) -> bool:
        """Facts of the run are not in the cluster's journal yet; they are tried again now."""
        waiting = self._unsaved.get(run.id, [])
        with suppress(ClusterError, Heard):
            while waiting:
                self._journal.append(run.id, run.spec.record_namespace, waiting[0])
                waiting.pop(0)
            self._unsaved_since = None
        return bool(waiting)

    def unsaved_too_long(self) -> bool:
        """The journal was not writable for the blind deadline."""
        return self._unsaved_since is not None and self.now() - self._unsaved_since >= self._blind_deadline

    def hear(self, run: Run) -> Run:
        """Fold requests that another terminal wrote, by reading the journal."""
        try:
            facts = self._journal.load(run.id, run.spec.record_namespace)
        except ClusterError:
            return run
        for fact in facts:
            if isinstance(fact, Requested) and fact.t > (run.resumed or run.spec.started):
                run = self._told(run, fact)
        return run

    def hear_all(self, runs: Iterable[Run]) -> list[Run]:
        """The same for several, of which only those are read that somebody else may have written to."""
        wanted = list(runs)
        moved = self._journal.moved([(run.id, run.spec.record_namespace) for run in wanted])
        return [self.hear(run) if run.id in moved else run for run in wanted]

    def _told(self, run: Run, request: Requested) -> Run:
        """Fold a request once, whichever way it was noticed."""
        key = (run.id, request.kind, request.t, request.by)
        if key in self._known_requests or request in (run.stop, run.roll_back):
            return run
        self._known_requests.add(key)
        return self._fold(run, request)

    def sleep(self, runs: Iterable[Run], why: Iterable[str], until: datetime) -> None:
        """Wait, with the leases renewed and the screen told."""
        active = list(runs)
        self._listener.waiting(active, why, self.now())
        if self._lease is not None:
            for run in active:
                try:
                    self._lease.renew(run.spec.namespace, run.id)
                except NotOurs:
                    raise
                except ClusterError:
                    continue
        pause = min(until, self.now() + SLICE) if self._lease is not None else until
        self._guard(lambda: self._clock.sleep_until(max(pause, self.now())))

    def release(self, run: Run) -> None:
        """Give the lease back; a cluster that is away lets it expire."""
        if self._lease is not None:
            try:
                self._lease.release(run.spec.namespace, run.id)
            except ClusterError:
                return
