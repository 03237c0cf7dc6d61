"""JSON for programs: versioned, whole, in the same words as the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from rollout.errors import Outcome, RolloutError, worst
from rollout.record.run import Run
from rollout.report import lifecycle
from rollout.report.commands import Again
from rollout.report.endings import title
from rollout.report.redact import redact_all

#: Minor: a field was added. Major: one changed its meaning or went away.
FORMAT_VERSION = "1.1"


def plan_json(run: Run, again: Again | None = None) -> dict[str, Any]:
    """A plan: what was found, what would change, what stands in the way; `next` can be typed as it stands.

    `result` is null while the run goes on; times are RFC 3339 in UTC, durations are seconds.
    """
    length = lifecycle.estimate(run)
    kinds = [lifecycle.action(write.change) for write in run.writes]
    return _plain(
        {
            **_common(run, again or Again()),
            "changes": [_change(run, write) for write in run.writes],
            "totals": {
                "add": kinds.count("add"),
                "change": kinds.count("change"),
                "remove": kinds.count("remove"),
                "blocked": int(lifecycle.stopped(run)),
            },
            "estimate_seconds": length.total_seconds() if length else None,
        }
    )


def run_json(run: Run, again: Again | None = None) -> dict[str, Any]:
    """A run: a plan's fields, and how far it is."""
    return {
        **plan_json(run, again),
        **_plain(
            {
                "entered": run.entered,
                "updated": run.updated,
                "seq": run.seq,
                "held": run.held,
                "watch": run.watch,
                "signals": run.signals,
                "proofs": run.proofs,
                "recap": lifecycle.tally(run),
            }
        ),
    }


def batch_json(runs: Sequence[Run], again: Again | None = None, *, not_started: Sequence[str] = ()) -> dict[str, Any]:
    """Several runs of one command, the namespaces that it never began, and the command's own end.

    `result` is the worst of the runs' ends, null where none has ended; its `exit_code` is the process' exit status.
    """
    ended = [run.result for run in runs if run.result]
    return {
        "format_version": FORMAT_VERSION,
        "runs": [run_json(run, again) for run in runs],
        "not_started": list(not_started),
        "result": _end(worst(ended)) if ended else None,
    }


def error_json(error: RolloutError, again: Again | None = None) -> dict[str, Any]:
    """What a command prints that ends without a report; `exit` is the process' exit status."""
    parts = {"problem": error.problem, "limit": error.limit, "where": error.where}
    said = {**parts, "next": (again or Again()).command(error.next), "outcome": error.outcome.name.lower()}
    mistakes = getattr(error, "problems", None)
    return _plain(
        {
            "format_version": FORMAT_VERSION,
            "error": {**said, "problems": mistakes} if mistakes else said,
            "exit": error.outcome.exit_code,
        }
    )


def _end(end: Outcome) -> dict[str, Any]:
    return {"outcome": end.name.lower(), "label": end.label, "exit_code": end.exit_code}


def _common(run: Run, again: Again) -> dict[str, Any]:
    spec, end = run.spec, run.result
    return {
        "format_version": FORMAT_VERSION,
        "run": run.id,
        "namespace": spec.namespace,
        "dry_run": spec.plan,
        "started": spec.started,
        "origin": spec.origin,
        "playbook": {"name": spec.playbook_name, "sha": spec.playbook_sha},
        "state": run.state,
        "why": run.why,
        "result": {"outcome": end.name.lower(), "label": title(run, end).lower(), "exit_code": end.exit_code}
        if end
        else None,
        "sentence": run.sentence,
        "next": again.command(run.next),
        "blocked": run.blocked,
        "checks": run.checks,
        "evidence": run.evidence,
        "mutual_share": {
            str(edge_family): run.evidence.share(edge_family)
            for edge_family in sorted({edge.family for edge in run.evidence.edges})
        }
        if run.evidence
        else {},
        "baseline": run.baseline,
        "waivers": spec.waivers,
        "exemptions": spec.exemptions,
        "fixed": spec.fixed,
    }


def _change(run: Run, write: Any) -> dict[str, Any]:
    change = write.change
    return {
        "object": str(change.ref),
        "ref": change.ref,
        "action": lifecycle.action(change),
        "fields": [{"field": f, "before": b, "after": a} for f, b, a in lifecycle.fields(change)],
        "before": change.before,
        "after": change.after,
        "undo": [{"field": f, "before": b, "after": a} for f, b, a in lifecycle.fields(change.inverse)],
        "server_dry_run": lifecycle.accepted(write),
        "blocked_by": [result.check for result in lifecycle.blocking(run)] if change.strict else [],
        "done": write.done,
        "undone": write.undone,
        "failed": write.failed,
        "reason": write.reason,
    }


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = redact_all(msgspec.to_builtins(value))
    return plain
