"""What a next command repeats of this command line: what was given, and only that; secrets never."""

from __future__ import annotations

import shlex
from typing import Any

from rollout.report.commands import Again
from rollout.report.redact import CUT, redact

_CLUSTER = {
    "kubeconfig": "--kubeconfig",
    "context": "--context",
    "impersonate": "--as",
    "prometheus": "--prometheus",
    "prometheus_token": "--prometheus-token",
    "prometheus_ca": "--prometheus-ca",
    "istioctl": "--istioctl",
    "state_namespace": "--state-namespace",
    "lab": "--lab",
}
_ASSIGNMENT = {
    "playbook": "--playbook",
    "extra_vars": "--extra-vars",
    "waive": "--waive",
    "exempt": "--exempt",
    "fixed": "--fixed",
    "permissive_since": "--permissive-since",
    "short_evidence": "--short-evidence",
    "reason": "--reason",
    "max_rate": "--max-rate",
    "allow_idle": "--allow-idle",
    "allow_system": "--allow-system",
    "override_owner": "--override-owner",
    "require_guard": "--require-guard",
    "until": "--until",
    "on_stop": "--on-stop",
    "max_duration": "--max-duration",
    "metrics_match": "--metrics-match",
    "repo": "--repo",
    "accept_slow_rollback": "--accept-slow-rollback",
}
_EVIDENCE = {"metrics_match": "--metrics-match", "look_back": "--look-back"}
_DEFAULTS = {"istioctl": "istioctl", "on_stop": "roll_back", "look_back": "8d"}


def again(args: Any) -> Again:
    """From parsed arguments of any command; those that it does not take are left out."""
    headers = [f"{text.partition('=')[0]}={CUT}" for text in getattr(args, "prometheus_header", [])]
    lab = getattr(args, "lab", None) or ""
    return Again(
        cluster=(*_given(args, _CLUSTER), *(_flag("--prometheus-header", text) for text in headers)),
        assignment=_given(args, _ASSIGNMENT if args.command in ("plan", "migrate") else _EVIDENCE),
        ephemeral=bool(lab) and not lab.startswith("http://"),
    )


def _given(args: Any, flags: dict[str, str]) -> tuple[str, ...]:
    found: list[str] = []
    for name, flag in flags.items():
        value = getattr(args, name, None)
        if value in (None, "", False, _DEFAULTS.get(name)):
            continue
        if value is True:
            found.append(flag)
            continue
        found += [_flag(flag, str(one)) for one in (value if isinstance(value, list) else [value])]
    return tuple(found)


def _flag(flag: str, value: str) -> str:
    return f"{flag} {shlex.quote(redact(value))}"
