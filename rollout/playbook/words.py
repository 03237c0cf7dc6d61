"""Hints: what people type who know Ansible, or who mistype."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_WAITS = "every wait and retry has its own printed budget in the task's arguments"
_ENDS = "the lifecycle knows every end, and the way back belongs to every run; notifications are settings of the run"
_WAY_BACK = "the way back is no task: it belongs to every run"
_RECORD = "results are in the run's record: -o json"
_VERDICT = "a check says itself when it fails; for an exception write `waive:` with reason, owner and expires"
_CLUSTER = "the cluster is the inventory, and credentials come from the kubeconfig or the environment"
_FLAT = "a playbook is one file with one list of tasks"
_LOOP = "several namespaces are `targets:`; tasks do not repeat"

#: Keywords of Ansible's that are refused, with what to do instead (UX.md B.1).
ANSIBLE: dict[str, str] = {
    "hosts": "write `targets:` (names, globs or a label selector of namespaces)",
    "vars_files": "write `vars:`, or -e @FILE on the command line",
    "tags": "a lifecycle has no optional parts; --until stops it early on purpose",
    "register": _RECORD,
    "until": _WAITS,
    "retries": _WAITS,
    "delay": _WAITS,
    "async": _WAITS,
    "poll": _WAITS,
    "rescue": _WAY_BACK,
    "block": _WAY_BACK,
    "always": _ENDS,
    "notify": _ENDS,
    "handlers": _ENDS,
    "force_handlers": _ENDS,
    "max_fail_percentage": 'write `max_failures: 0` or `max_failures: "10%"`; it is inclusive, Ansible\'s must be '
    "exceeded",
    "any_errors_fatal": "write `max_failures: 0`, the default; a blocked namespace is skipped",
    "run_once": "waves are `serial:`, their order is `order:`",
    "throttle": "waves are `serial:`, their order is `order:`",
    "forks": "waves are `serial:`, their order is `order:`",
    "check_mode": "a dry run never writes, and never in part: `rollout plan`",
    "diff": "a diff shows the mode and the ports of a PeerAuthentication alone, which are no secrets",
    "no_log": "credentials are cut out of every output",
    "ignore_errors": "write `waive:` with reason, owner and expires",
    "ignore_unreachable": "what cannot be seen never passes; an `unknown` check can be waived",
    "failed_when": _VERDICT,
    "changed_when": _VERDICT,
    "delegate_to": _CLUSTER,
    "become": _CLUSTER,
    "become_user": _CLUSTER,
    "connection": _CLUSTER,
    "remote_user": _CLUSTER,
    "environment": _CLUSTER,
    "inventory": _CLUSTER,
    "group_vars": _CLUSTER,
    "vars_prompt": _CLUSTER,
    "gather_facts": "everything that decides is read before the first write",
    "strategy": "waves are `serial:`, their order is `order:`",
    "roles": _FLAT,
    "import_playbook": _FLAT,
    "include_tasks": _FLAT,
    "import_tasks": _FLAT,
    "include_role": _FLAT,
    "import_role": _FLAT,
    "pre_tasks": _FLAT,
    "post_tasks": _FLAT,
    "loop": _LOOP,
    "loop_control": _LOOP,
    "with_items": _LOOP,
}


def closest(word: str, options: Iterable[str]) -> str | None:
    """The option that was probably meant."""
    known = {option.lower().replace("-", "_"): option for option in options}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    return known[found[0]] if found else None


def hint(word: str, options: Iterable[str]) -> str:
    """`did you mean …?`, or the list of what there is."""
    options = list(options)
    near = closest(word, options)
    if near:
        return f"did you mean `{near}`?"
    return f"there is: {', '.join(options)}" if options else ""


def unknown_key(word: str, options: Iterable[str]) -> str:
    """The hint for a key that does not exist here; Ansible's own come first."""
    return ANSIBLE.get(word) or hint(word, options)


def quoted(value: object) -> str:
    """A value in a sentence, cut where it is long."""
    text = str(value).replace("\n", " ")
    return f"`{text[:60]}…`" if len(text) > 60 else f"`{text}`"
