"""watching: judge each new sample for the wanted time of sight."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.errors import Outcome
from rollout.judge.verdict import judge
from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.judgement import Judgement, Observation, Verdict
from rollout.model.kubernetes import Node, Object, Pod
from rollout.record.events import Fact, Note, ProofKind, Proven, Ticked, Ticks
from rollout.record.run import Run
from rollout.record.spec import Task
from rollout.record.state import State
from rollout.stages.arguments import OnBlind, Watch
from rollout.stages.context import arguments, modes, refusal
from rollout.stages.rights import WATCHED
from rollout.stages.step import Learn, Move, Step, Wait
from rollout.world.reads import DryRun, Objects, Observed
from rollout.world.world import Unreadable, World

OBJECTS: tuple[type[Object], ...] = (*WATCHED, Node)
UNDO_AGAIN = timedelta(minutes=5)


def interval(args: Watch, run: Run) -> timedelta:
    """Time between ticks: one scrape, at least 15 s, or longer where the playbook says so."""
    scrape = run.baseline.sight.interval if run.baseline else 30.0
    return max(args.interval, timedelta(seconds=max(scrape, 15.0)))


def decide(run: Run, world: World, now: datetime) -> Step:
    """One tick when it is due. A tick that comes late (a gap) looks at all of the time since the last one."""
    args = arguments(run, "watch", Watch)
    if run.watch.sight >= args.for_.total_seconds() and not unapproved(run):
        world.need(Objects(PeerAuthentication), Objects(Pod), since=run.watch.due)
        return _over(run, world)
    step = interval(args, run)
    last = run.watch.due or run.watch.began or run.entered
    due = last + step
    if now < due:
        return Wait(due, "next sample")
    gap = now - last > 3 * step
    window = max(args.window, min(now - last, timedelta(hours=2))) if gap else max(args.window, 3 * step)
    question = Observed(run.spec.namespace, window.total_seconds(), run.spec.metrics_match)
    world.need(question, *(Objects(kind) for kind in OBJECTS), since=due)
    undo = _undo_proof(run, world, now)
    judgement = _judged(run, world, question, now)
    tick = _tick(run, judgement, world.get(question), now if gap else due, step, gap)
    facts: tuple[Fact | Note, ...] = (*undo, tick, _note(judgement, world.get(question), now, tick.until))
    blind = run.watch.blind or tick.since
    deadline = timedelta(0) if args.on_blind is OnBlind.ROLL_BACK else args.blind_deadline
    if judgement.verdict is Verdict.REGRESSED:
        bad = tuple(s for s in judgement.signals if s.verdict is Verdict.REGRESSED)
        return Move(State.ROLLING_BACK, judgement.sentence, signals=bad, facts=facts)
    if judgement.verdict is Verdict.CANNOT_SEE and now - blind >= deadline:
        why = f"blind since {blind:%H:%M:%S}: {judgement.sentence} (blind_deadline {deadline})"
        return Move(State.ROLLING_BACK, why, signals=judgement.signals, facts=facts)
    return Learn(facts)


def unapproved(run: Run) -> tuple[Task, ...]:
    """The `approve` tasks after `strict` that nobody has said yes to: the judge goes on while they wait."""
    names = [task.keyword for task in run.spec.tasks]
    after = run.spec.tasks[names.index("strict") :] if "strict" in names else ()
    return tuple(task for task in after if task.keyword == "approve" and task.name not in run.approved)


def _judged(run: Run, world: World, question: Observed, now: datetime) -> Judgement:
    observation = world.get(question)
    if run.baseline is None:
        return Judgement(verdict=Verdict.CANNOT_SEE, sentence="the record has no baseline")
    return judge(run.baseline, observation, run.watch, world, run.spec.namespace, now)


def _tick(
    run: Run, judgement: Judgement, answer: Observation | Unreadable, due: datetime, step: timedelta, gap: bool
) -> Ticks:
    newest = answer.sight.newest if isinstance(answer, Observation) else None
    new = newest is not None and (run.watch.sample is None or newest > run.watch.sample)
    counts = judgement.verdict.sight and new and not gap
    verdict = Verdict.INTERRUPTED if gap and judgement.verdict.sight else judgement.verdict
    return Ticks(
        t=due,
        verdict=verdict,
        since=due,
        until=due,
        sight=step.total_seconds() if counts else 0.0,
        breached=judgement.breached,
        sample=newest if new else run.watch.sample,
    )


def _note(judgement: Judgement, answer: Observation | Unreadable, now: datetime, due: datetime) -> Ticked:
    sight = answer.sight if isinstance(answer, Observation) else None
    return Ticked(
        t=now, due=due, verdict=judgement.verdict, signals=judgement.signals, sight=sight, sentence=judgement.sentence
    )


def _undo_proof(run: Run, world: World, now: datetime) -> tuple[Proven, ...]:
    """The undo, dry-run again every few minutes; a refusal is said and the watch goes on."""
    proof = run.proof(ProofKind.UNDO)
    if run.flip is None or (proof is not None and now - proof.t < UNDO_AGAIN):
        return ()
    world.need(DryRun(run.flip.change.inverse), since=now - UNDO_AGAIN)
    words = refusal(world, run.flip.change.inverse)
    return (Proven(t=now, of=ProofKind.UNDO, ok=not words, detail=words or "server dry run of the undo: accepted"),)


def _loosened(run: Run, world: World) -> str:
    """A port that somebody opened since the flip; those that an exemption names were open before."""
    if any(f.waived.startswith("exempt") for r in run.checks for f in r.findings):
        return ""
    found = modes(run, world).items()
    loose = sorted(f"{pod}:{port}" if port else pod for (pod, port), mode in found if mode is not Mode.STRICT)
    return f"{len(loose)} ports are not STRICT any more, by another policy: {', '.join(loose[:3])}" if loose else ""


def _over(run: Run, world: World) -> Step:
    if why := _loosened(run, world):
        return Move(State.OVERRIDDEN, why, Outcome.OVERRIDDEN)
    if not run.watch.traffic:
        return Move(State.ENFORCED, "watched to the end; there was no traffic to judge", Outcome.UNOBSERVED)
    exempt = sorted({f.ref for r in run.checks for f in r.findings if f.waived.startswith("exempt")})
    if exempt:
        return Move(State.ENFORCED, f"watched to the end; {len(exempt)} exceptions", Outcome.EXCEPTIONS)
    return Move(State.ENFORCED, "watched to the end", Outcome.ENFORCED)
