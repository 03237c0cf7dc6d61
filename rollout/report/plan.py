"""The dry run that a team lead reads: every state, what it found, and what it would do."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.errors import Outcome
from rollout.model.finding import Status
from rollout.record.events import ProofKind
from rollout.record.run import Run, Write
from rollout.record.state import State
from rollout.report import findings, lifecycle
from rollout.report.endings import batch, result, signals
from rollout.report.layout import Style, clock, count, labelled, share, span, width_of, wrap

_SIGNS = {"add": "+", "change": "~", "remove": "-"}
_PROOFS = {
    State.VERIFYING: (ProofKind.RIGHTS, ProofKind.FIRST_WRITE),
    State.PERMISSIVE: (),
    State.CONFIRMING: (),
    State.CHECKING: (),
    State.ENFORCING: (ProofKind.UNDO, ProofKind.PROPAGATION, ProofKind.DRAIN),
    State.ROLLING_BACK: (ProofKind.UNDO_PROPAGATION,),
}
_PROVEN = {
    ProofKind.RIGHTS: "every right that the run needs, undo first",
    ProofKind.FIRST_WRITE: "the first write, by server dry run",
    ProofKind.UNDO: "the undo, by server dry run",
    ProofKind.PROPAGATION: "a way to prove propagation",
    ProofKind.DRAIN: "the drain is over",
    ProofKind.UNDO_PROPAGATION: "the way back has reached every proxy",
}


def plan(run: Run, style: Style | None = None, *, short: bool = False) -> list[str]:
    """Blocks of one namespace, the totals, and the result; `short` leaves out what is ok.

    A real run is told the same way: what was written when, what was taken back, and no totals.
    """
    style = style or Style()
    lines = [*blocks(run, style, short=short), *(totals([run], style) if run.spec.plan else [])]
    return lines + result(run, style)


def plans(runs: Sequence[Run], style: Style | None = None, *, short: bool = False) -> list[str]:
    """One namespace as `plan`; several: each with its name and blocks, then the totals and each one's result."""
    style = style or Style()
    lines: list[str] = []
    several = len(runs) > 1
    for run in runs:
        lines += _heading(run, f"namespace {run.spec.namespace}", style) if several else []
        lines += blocks(run, style, short=short)
    lines += totals(runs, style)
    lines += [line for run in runs for line in result(run, style, named=several)]
    return lines + (batch(runs, style) if several else [])


def blocks(run: Run, style: Style, *, short: bool = False) -> list[str]:
    """One block a state, each under its marker."""
    lines: list[str] = []
    for state in (State.VERIFYING, State.PERMISSIVE, State.CONFIRMING, State.CHECKING):
        body = _state(run, state, style, short=short)
        if body:
            lines += [*_heading(run, str(state), style), *body]
    if _unchanged(run):
        return lines
    watch = lifecycle.argument(run, "watch", "for")
    then = f", then watching {span(watch)} of sight" if watch and run.spec.task("strict") else ""
    lines += [*_heading(run, f"enforcing{then}", style), *_enforcing(run, style, short=short)]
    back = [*signals(run, style), *_proofs(run, State.ROLLING_BACK, style, short=False)]
    return [*lines, *_heading(run, f"rolling_back: {run.why}", style), *back] if back else lines


def _heading(run: Run, words: str, style: Style) -> list[str]:
    marker = "[DRY RUN] " if run.spec.plan else ""
    return [style.paint(line, "bold") for line in wrap(words, style, first=marker, rest=" " * len(marker))]


def _state(run: Run, state: State, style: Style, *, short: bool) -> list[str]:
    if not lifecycle.reached(run, state):
        why = (
            ""
            if short or _unchanged(run)
            else f"not reached: {run.why or run.sentence or 'the run has not come this far'}"
        )
        return wrap(why, style, first=f"{style.mark(Status.SKIPPED)} ", rest="  ") if why else []
    results = lifecycle.checks_of(run, state)
    lines = _proofs(run, state, style, short=short)
    if state is State.CONFIRMING and run.evidence and not (short and run.evidence.verdict == "clean"):
        told = any(result.findings for result in results)
        lines += findings.evidence(run.evidence, style, suspects=not told)
    for checked in results:
        if not (short and checked.status is Status.OK):
            lines += findings.check(checked, style)
    if state is State.PERMISSIVE:
        lines += [line for write in run.writes if not write.change.strict for line in _write(run, write, style)]
    return lines or ([] if short else ["nothing to change"])


def _proofs(run: Run, state: State, style: Style, *, short: bool) -> list[str]:
    lines: list[str] = []
    for kind in _PROOFS[state]:
        proof = run.proof(kind)
        if proof and not (short and proof.ok):
            status = Status.OK if proof.ok else Status.FAILED
            words = f"{_PROVEN[kind]}: {proof.detail or ('proven' if proof.ok else 'not proven')}"
            painted = wrap(words, style, first=f"{style.mark(status)} ", rest="  ")
            lines += [style.paint(line, style.tone(status)) for line in painted]
    return lines


def _enforcing(run: Run, style: Style, *, short: bool) -> list[str]:
    lines = _proofs(run, State.ENFORCING, style, short=short)
    for checked in lifecycle.checks_of(run, State.ENFORCING):
        lines += [] if short and checked.status is Status.OK else findings.check(checked, style)
    strict = [write for write in run.writes if write.change.strict]
    for write in strict:
        lines += _write(run, write, style)
    if not strict:
        asked = f"--until {run.spec.until}" if run.spec.until else "the playbook asks for no `strict`"
        wanted = run.spec.task("strict") and not run.spec.until
        why = (run.why or "see above") if wanted else asked
        lines += wrap(f"no change planned: {why}", style, first=f"{style.mark(Status.SKIPPED)} ", rest="  ")
        lines += _blocked_by(run, style)
    if run.baseline and not short:
        base = run.baseline
        errors = f"{share(base.destination_errors)} of requests fail"
        words = f"{count(len(base.edges), 'edge')}, {count(len(base.workloads), 'workload')}, {errors}"
        lines += labelled("baseline", words, style)
    return lines


def _write(run: Run, write: Write, style: Style) -> list[str]:
    """The object's difference, the way back, and what stands in between."""
    change = write.change
    kind = lifecycle.action(change)
    rows = [f"{field}: {before} -> {after}" for field, before, after in lifecycle.fields(change)]
    head = f"{_SIGNS[kind]} {change.ref}"
    if len(rows) == 1 and width_of(f"{head}   {rows[0]}") <= style.columns:
        lines = [style.clean(head) + "   " + style.clean(rows[0])]
    else:
        shown = rows or ["no field differs"]
        lines = [*wrap(head, style, rest="  "), *(ln for row in shown for ln in wrap(row, style, first="    "))]
    lines = [style.paint(line, "yellow") for line in lines]
    undo, dry = f"undo: {_undo(run, write)}", f"server dry run: {lifecycle.accepted(write)}"
    if width_of(f"    {undo}   {dry}") <= style.columns:
        lines.append(f"    {style.clean(undo)}   {style.clean(dry)}")
    else:
        lines += [*wrap(undo, style, first="    ", rest="      "), *wrap(dry, style, first="    ", rest="      ")]
    if not run.spec.plan:
        lines += wrap(_deed(write, style), style, first="    ", rest="      ")
    return lines + (_blocked_by(run, style) if change.strict else [])


def _deed(write: Write, style: Style) -> str:
    """What became of the change in a real run."""
    if write.done is None:
        return f"not written: {write.failed or 'nobody knows yet'}"
    back = f", taken back {clock(write.undone, style)}" if write.undone else ""
    return f"written {clock(write.done, style)}{back}"


def _undo(run: Run, write: Write) -> str:
    back = write.change.inverse
    if back.after is None:
        return f"`rollout rollback {run.spec.namespace} --to-start` deletes it, if no effective mode changes"
    rows = lifecycle.fields(back)
    if len(rows) == 1 and rows[0][0] == "spec.mtls.mode":
        return f"mode back to {rows[0][2]}"
    return ", ".join(f"{field} back to {after}" for field, _, after in rows) or "nothing to take back"


def _blocked_by(run: Run, style: Style) -> list[str]:
    names = ", ".join(f"{style.mark(r.status)} {r.check}" for r in lifecycle.blocking(run))
    reasons = [why for why in dict.fromkeys(run.blocked) if why and not any(c.check in why for c in run.checks)]
    lines = wrap(f"blocked by: {names}", style, first="    ", rest="      ") if names else []
    lines = [style.paint(line, "red") for line in lines]
    return lines + [ln for why in reasons for ln in wrap(f"blocked: {why}", style, first="    ", rest="      ")]


def _unchanged(run: Run) -> bool:
    return run.result is Outcome.UNCHANGED or (run.state is State.ENFORCED and not run.writes)


def totals(runs: Sequence[Run], style: Style) -> list[str]:
    """`Plan: 0 to add, 1 to change, 0 to remove; 1 blocked. About 34m.`, or that nothing changes."""
    kinds = [lifecycle.action(write.change) for run in runs for write in run.writes]
    blocked = sum(lifecycle.stopped(run) for run in runs)
    if not kinds and not blocked and runs and all(_unchanged(run) for run in runs):
        names = ", ".join(run.spec.namespace for run in runs)
        verb = "is" if len(runs) == 1 else "are"
        return [style.paint(line, "bold") for line in wrap(f"No changes. {names} {verb} STRICT already.", style)]
    spans = [length for run in runs if (length := lifecycle.estimate(run))]
    # Waves run one after the other, so the batch takes at most the sum; within a wave the longest counts.
    about = ""
    if len(spans) == 1:
        about = f" About {span(spans[0])}."
    elif spans:
        about = f" About {span(max(spans))} a wave."
    parts = ", ".join(f"{kinds.count(kind)} to {kind}" for kind in _SIGNS)
    return [style.paint(line, "bold") for line in wrap(f"Plan: {parts}; {blocked} blocked.{about}", style)]
