"""Who would pick the run up if this process died? Without a terminal that is said, and can be required."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from rollout.model.kubernetes import Container, CronJob
from rollout.record.run import Run
from rollout.world.reads import Objects
from rollout.world.world import World

#: What the tool is called on a command line, and as a plugin behind `kubectl`.
PROGRAMS = frozenset({"rollout", "kubectl-mtls_rollout"})
PLUGIN = "mtls-rollout"


def successor(run: Run, world: World) -> str:
    """A CronJob that would resume this run, as `CronJob NAMESPACE/NAME (SCHEDULE)`; a human at a terminal; or ''."""
    if run.spec.terminal:
        return f"{run.spec.origin.user or 'a human'} at a terminal"
    world.need(Objects(CronJob))
    for job in world.of(CronJob):
        if not job.spec.suspend and any(resumes(c, run) for c in job.spec.job_template.spec.template.spec.containers):
            return f"{job.ref} ({job.spec.schedule})"
    return ""


def unguarded(run: Run, world: World) -> str:
    """Why a run that requires a guard may not go on; '' when somebody would take it up, or none is required."""
    if not run.spec.require_guard or successor(run, world):
        return ""
    return "nobody would pick this run up: no terminal, and no CronJob runs `rollout resume --all` (require_guard)"


def resumes(container: Container, run: Run) -> bool:
    """The container's command is `rollout resume`, and it would find this run."""
    words = list(_words((*container.command, *container.args)))
    if "resume" not in words:
        return False
    at = words.index("resume")
    return _ours(words[:at], container.image) and _covers(words[at + 1 :], run)


def _words(arguments: Iterable[str]) -> Iterable[str]:
    """A shell's script is one argument of many words."""
    for argument in arguments:
        if len(argument.split()) < 2:
            yield argument
            continue
        try:
            yield from shlex.split(argument)
        except ValueError:
            yield from argument.split()


def _ours(program: Sequence[str], image: str) -> bool:
    """`kubectl rollout resume` is kubectl's own; without a command the image's entrypoint counts, by its name."""
    names = [word.rpartition("/")[2] for word in program]
    if not names:
        repository = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
        return repository.endswith("rollout")
    if "kubectl" in names:
        return names[-1] == PLUGIN
    return names[-1] in PROGRAMS


def _covers(words: Sequence[str], run: Run) -> bool:
    """Its flags find the run's record: `--all` in these namespaces, or the run or namespace by name."""
    named, options = _parsed(words)
    if "--lab" in options:
        return False
    wanted, place = options.get("--namespace", []), run.spec.record_namespace
    state = options.get("--state-namespace", [""])[-1]
    if "--all" in words:
        looks = [state] if state else wanted
        return (not looks or place in looks) and (not wanted or run.spec.namespace in wanted)
    return bool({run.spec.namespace, run.id} & set(named)) and (state or run.spec.namespace) == place


def _parsed(words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """What stands alone, and the values of options; `--all` alone of resume's options takes none."""
    named: list[str] = []
    options: dict[str, list[str]] = {}
    option = ""
    for word in words:
        if option:
            options.setdefault(option, []).append(word)
            option = ""
        elif word.startswith("-"):
            name, sign, value = word.partition("=")
            if sign:
                options.setdefault(name, []).append(value)
            else:
                option = "" if name == "--all" else name
        else:
            named.append(word)
    return named, options
