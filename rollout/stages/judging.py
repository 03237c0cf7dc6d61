"""One tick of the judge, from the write that changes a mode to the end of the watch."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from rollout.judge.verdict import judge
from rollout.mesh.workloads import workload
from rollout.model.istio import Mode
from rollout.model.judgement import Baseline, Judgement, Observation, Verdict
from rollout.model.kubernetes import Node, Object, Pod
from rollout.model.traffic import Party
from rollout.record.events import Fact, Note, Ticked, Ticks
from rollout.record.run import Run
from rollout.record.state import State
from rollout.stages.arguments import OnBlind, Watch
from rollout.stages.context import arguments, modes
from rollout.stages.rights import WATCHED
from rollout.stages.step import Learn, Move, Wait
from rollout.world.reads import Objects, Observed
from rollout.world.world import KindUnreadable, Unreadable, World

Tick = Wait | Learn | Move
OBJECTS: tuple[type[Object], ...] = (*WATCHED, Node)


class Schedule(msgspec.Struct, frozen=True):
    """Which sample is next: due at `due`, looked at over `window` seconds; `gap`: it comes much too late."""

    due: datetime
    step: timedelta
    window: timedelta
    gap: bool


def interval(args: Watch, run: Run) -> timedelta:
    """Time between ticks: one scrape, at least 15 s, or longer where the playbook says so."""
    scrape = run.baseline.sight.interval if run.baseline else 30.0
    return max(args.interval, timedelta(seconds=max(scrape, 15.0)))


def wanted(args: Watch, run: Run) -> timedelta:
    """The sight that a watch needs: what was asked for, and at least two whole windows behind the drain.

    Ratios are judged over windows that begin after it, twice, before a regression counts; a watch that ended sooner
    would have judged none.
    """
    step = interval(args, run)
    return max(args.for_, max(args.window, 3 * step) + 2 * step)


def tick(run: Run, world: World, now: datetime, since: datetime, *, settled: datetime | None = None) -> Tick:
    """A tick when it is due: what it says, or the way back.

    Args:
        run: with the baseline.
        world: is asked for the newest window and the objects.
        now: a tick that comes late (a gap) looks at all of the time since the last one.
        since: where the first tick counts from.
        settled: when ratios may be judged; None: as `judge` says.

    Raises:
        Needs: the world lacks the sample.
    """
    args = arguments(run, "watch", Watch)
    plan = _schedule(args, run, since, now)
    if now < plan.due:
        return Wait(plan.due, "next sample")
    question = Observed(run.spec.namespace, plan.window.total_seconds(), run.spec.metrics_match)
    world.need(question, *(Objects(kind) for kind in OBJECTS), since=plan.due)
    answer: Observation | Unreadable = world.get(question)
    judgement = _judged(run, world, answer, now, settled)
    ticks = _ticks(run, judgement, answer, now, plan)
    facts: tuple[Fact | Note, ...] = (ticks, _note(judgement, answer, now, ticks.until))
    if judgement.verdict is Verdict.REGRESSED:
        bad = tuple(s for s in judgement.signals if s.verdict is Verdict.REGRESSED)
        return Move(State.ROLLING_BACK, judgement.sentence, signals=bad, facts=facts)
    if judgement.verdict is Verdict.CANNOT_SEE and (why := _blind_for_good(args, run, world, judgement, ticks, now)):
        return Move(State.ROLLING_BACK, why, signals=judgement.signals, facts=facts)
    return Learn(facts)


def earlier(wait: Wait, sample: Wait) -> Wait:
    """Wait for the one thing, but no longer than to the next sample."""
    return wait if wait.until <= sample.until else Wait(sample.until, wait.why)


def _schedule(args: Watch, run: Run, since: datetime, now: datetime) -> Schedule:
    step = interval(args, run)
    last = run.watch.due or since
    gap = now - last > 3 * step
    least = max(args.window, 3 * step)
    window = max(args.window, min(now - last, timedelta(hours=2))) if gap else least
    return Schedule(last + step, step, window, gap)


def _blind_for_good(args: Watch, run: Run, world: World, judgement: Judgement, ticks: Ticks, now: datetime) -> str:
    """Why waiting for sight is over; credentials that are refused on two ticks in a row do not come back."""
    if run.watch.blind is not None and (refused := _refused(world)):
        return f"the credentials are refused for good: {refused}"
    blind = run.watch.blind or ticks.since
    deadline = timedelta(0) if args.on_blind is OnBlind.ROLL_BACK else args.blind_deadline
    if now - blind >= deadline:
        return f"blind since {blind:%H:%M:%S}: {judgement.sentence} (blind_deadline {deadline})"
    return ""


def _refused(world: World) -> str:
    answers = (world.get(Objects(kind)) for kind in WATCHED)
    return next((a.reason for a in answers if isinstance(a, Unreadable) and a.permanent), "")


def _judged(
    run: Run, world: World, observation: Observation | Unreadable, now: datetime, settled: datetime | None
) -> Judgement:
    if run.baseline is None:
        return Judgement(verdict=Verdict.CANNOT_SEE, sentence="the record has no baseline")
    open_to = _open(run, run.baseline, world)
    return judge(run.baseline, observation, run.watch, world, run.spec.namespace, now, settled=settled, open_to=open_to)


def _open(run: Run, baseline: Baseline, world: World) -> frozenset[Party]:
    """The workloads with a port that is not STRICT, where a caller without a sidecar could be one of theirs."""
    if all(edge.source.named for edge in baseline.edges):
        return frozenset()
    try:
        loose = {pod for (pod, _), mode in modes(run, world).items() if mode is not Mode.STRICT}
        pods = world.of(Pod, run.spec.namespace)
    except KindUnreadable:
        return frozenset()
    return frozenset(Party(pod.namespace, workload(pod).name) for pod in pods if pod.name in loose)


def _ticks(run: Run, judgement: Judgement, answer: Observation | Unreadable, now: datetime, plan: Schedule) -> Ticks:
    newest = answer.sight.newest if isinstance(answer, Observation) else None
    new = newest is not None and (run.watch.sample is None or newest > run.watch.sample)
    counts = judgement.verdict.sight and new and not plan.gap
    due = now if plan.gap else plan.due
    return Ticks(
        t=due,
        verdict=Verdict.INTERRUPTED if plan.gap and judgement.verdict.sight else judgement.verdict,
        since=due,
        until=due,
        sight=plan.step.total_seconds() if counts else 0.0,
        breached=judgement.breached,
        sample=newest if new else run.watch.sample,
    )


def _note(judgement: Judgement, answer: Observation | Unreadable, now: datetime, due: datetime) -> Ticked:
    sight = answer.sight if isinstance(answer, Observation) else None
    return Ticked(
        t=now, due=due, verdict=judgement.verdict, signals=judgement.signals, sight=sight, sentence=judgement.sentence
    )
