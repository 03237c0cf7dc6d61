"""What the tool knows without a cluster: checks, signals, playbooks, rights, scenarios, versions."""

from __future__ import annotations

import difflib
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from rollout import __version__
from rollout.checks.registry import checks as all_checks
from rollout.cli.assignment import playbook as load_playbook
from rollout.cli.output import tell
from rollout.cli.roles import binding, role, roles, user
from rollout.cli.screen import style, whole
from rollout.diagnosis.probing import rights as to_probe
from rollout.errors import Outcome, UsageError
from rollout.judge.signals import SIGNALS
from rollout.model.kubernetes import Namespace, Pod, Service
from rollout.playbook.loader import shipped
from rollout.ports import Right
from rollout.report import explain as explained
from rollout.report.layout import count
from rollout.report.tables import exit_codes, listed
from rollout.report.versions import made_for
from rollout.world.certificates import rights as to_ask
from rollout.world.log_reading import right as access_logs


def _print(lines: list[str]) -> int:
    tell("\n".join(lines) + "\n")
    return Outcome.DONE.exit_code


def explain(args: Any) -> int:
    """A check or a signal."""
    for check in all_checks():
        if check.meta.id == args.id:
            meta = check.meta
            return _print(
                explained.explain(
                    meta.id, meta.title, meta.why, meta.fix, style(sys.stdout), severity=meta.severity, state=meta.state
                )
            )
    if args.id in SIGNALS:
        about = SIGNALS[args.id]
        return _print(explained.explain(args.id, about.title, about.why, "", style(sys.stdout)))
    known = [c.meta.id for c in all_checks()] + list(SIGNALS)
    near = difflib.get_close_matches(args.id, known, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"there is no check or signal {args.id!r}{guess}",
                     next=f"rollout explain {near[0]}" if near else "rollout checks list")  # fmt: skip


def checks(args: Any) -> int:  # noqa: ARG001
    """The checks and the watch's signals."""
    rows = [("ID", "STATE", "TRUE WHEN IT PASSES")]
    rows += [(c.meta.id, str(c.meta.state), c.meta.title) for c in all_checks()]
    rows += [(name, "watching", about.title) for name, about in SIGNALS.items()]
    return _print(listed(rows, whole(sys.stdout)))


def playbook(args: Any) -> int:
    """List, show or lint."""
    if args.action == "list":
        return _print(["strict-mtls.yaml   the default: checklist, flip, thirty minutes of watch"])
    path = Path(args.file) if args.file else shipped()
    if args.action == "show":
        return _print([path.read_text(encoding="utf-8").rstrip()])
    book = load_playbook(str(path), args.extra_vars, ["namespace"], now=datetime.now(UTC))
    written = sum(task.line > 0 for task in book.tasks)
    implicit = len(book.tasks) - written
    tasks = count(written, "task") + (f", and {implicit} implicit" if implicit else "")
    summary = f"{path.name}: {tasks}, sha {book.sha[:6]}; no errors"
    return _print([*(f"warning: {text}" for text in book.warnings), summary])


def rbac(args: Any) -> int:
    """The least rights: for a plan, for migrating namespaces, for access logs, for asking proxies, for a probe."""
    spots = args.namespace or ["NAMESPACE"]
    documents = roles(spots if args.purpose == "migrate" else [], args.state_namespace)
    if args.purpose == "evidence":
        documents += [role("Role", "rollout-access-logs", place, [access_logs(place)]) for place in spots]
    if args.purpose in ("diagnose", "probe"):
        named = [Right("get", kind.RESOURCE) for kind in (Namespace, Pod, Service)]
        documents.append(role("ClusterRole", "rollout-diagnose", "", named))
        documents += [role("Role", "rollout-diagnose", at, [*to_ask(at), access_logs(at)]) for at in spots]
    if args.purpose == "probe":
        documents += [role("Role", "rollout-probe", place, to_probe(place)) for place in spots]
    if args.user:
        documents += [binding(document, user(args.user)) for document in list(documents)]
    return _print([yaml.safe_dump_all(documents, sort_keys=False).rstrip()])


def lab(args: Any) -> int:  # noqa: ARG001
    """The scenarios, and the namespaces that each is about."""
    from rollout.lab.lab import list_scenarios
    from rollout.lab.scenario import SHIPPED

    rows = [(name, _target(SHIPPED / f"{name}.yaml"), title) for name, title in list_scenarios()]
    return _print(listed([("SCENARIO", "TARGET", "TITLE"), *rows], whole(sys.stdout)))


def _target(path: Path) -> str:
    """Read as its title is: loading every scenario would take seconds."""
    lines = path.read_text(encoding="utf-8").splitlines()
    line = next((line for line in lines if line.startswith("target:")), "target:")
    return line.removeprefix("target:").strip(" []")


def version(args: Any) -> int:  # noqa: ARG001
    """Of the tool, and what it is made for."""
    lines = [
        f"rollout {__version__} (Python {platform.python_version()})",
        f"{made_for()}, in sidecar mode; PeerAuthentication v1 and v1beta1",
    ]
    return _print([style(sys.stdout).clean(line) for line in lines])


def topic(args: Any) -> int:  # noqa: ARG001
    """`rollout help exit-codes`."""
    return _print(exit_codes(style(sys.stdout)))
