"""Which CronJobs would pick a run up, and which unfinished runs `resume --all` takes up."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from rollout.cli.job import runner
from rollout.cli.manifests import manifests
from rollout.cli.parser import parser
from rollout.errors import Outcome
from rollout.model.istio import Mode
from rollout.model.kubernetes import Container, CronJob, Ref
from rollout.record.change import Change, Policy
from rollout.record.events import Requested, RequestKind
from rollout.record.run import Run, Write
from rollout.record.spec import OnStop, Origin, Spec, Task
from rollout.record.state import State
from rollout.stages.guard import resumes, successor
from rollout.stages.orphans import left_alone
from rollout.world.reads import Objects
from rollout.world.world import Reading, World

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RUN_ID = "production-20260302-1012-b4a1"


def run(**spec: object) -> Run:
    """One of `production`, without a terminal."""
    made = Spec(run=RUN_ID, namespace="production", started=NOW, tasks=(Task(name="flip", keyword="strict"),))
    return Run(spec=msgspec.structs.replace(made, **spec), entered=NOW, updated=NOW)


def cron_job(*argv: str) -> CronJob:
    """The one that `rollout job` prints."""
    args = parser().parse_args(["job", "--print", "--prometheus", "http://prometheus:9090", *argv])
    document = next(d for d in manifests(runner(args, args.namespaces)) if d["kind"] == "CronJob")
    return msgspec.convert({k: v for k, v in document.items() if k not in ("apiVersion", "kind")}, CronJob)


def world(*jobs: CronJob) -> World:
    """These CronJobs, and nothing else."""
    return World().plus({Objects(CronJob): Reading(NOW, jobs)})


def suspended(job: CronJob) -> CronJob:
    """The same, switched off."""
    return msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, suspend=True))


@pytest.mark.parametrize(
    ("argv", "spec", "found"),
    [
        (["production"], {}, "CronJob rollout/migrate-production-resume (*/5 * * * *)"),
        (
            ["production", "--job-namespace", "ops", "--image", "registry.example/tools/mesh:7", "--name", "m"],
            {},
            "CronJob ops/m-resume (*/5 * * * *)",
        ),
        (
            ["production", "--state-namespace", "records", "--schedule", "* * * * *"],
            {"state_namespace": "records"},
            "CronJob rollout/migrate-production-resume (* * * * *)",
        ),
        (["payments", "production", "--name", "both"], {}, "CronJob rollout/both-resume (*/5 * * * *)"),
        (["payments"], {}, ""),
        (["production"], {"state_namespace": "records"}, ""),
        (["production", "--state-namespace", "records"], {}, ""),
        (["production", "--state-namespace", "records"], {"state_namespace": "others"}, ""),
    ],
)
def test_the_printed_cron_job_picks_up_the_runs_of_its_namespaces(
    argv: list[str], spec: dict[str, object], found: str
) -> None:
    """Wherever it lives, and only where it looks for records."""
    assert found == successor(run(**spec), world(cron_job(*argv)))
    assert successor(run(**spec), world(suspended(cron_job(*argv)))) == ""


def test_a_second_cron_job_is_found_behind_one_that_does_not_fit() -> None:
    """All are looked at."""
    jobs = [suspended(cron_job("production")), cron_job("payments"), cron_job("production", "--name", "last")]
    assert successor(run(), world(*jobs)) == "CronJob rollout/last-resume (*/5 * * * *)"


def test_a_human_at_a_terminal_needs_no_cron_job() -> None:
    """The record names the user."""
    assert successor(run(terminal=True, origin=Origin(user="ana")), World()) == "ana at a terminal"


@pytest.mark.parametrize(
    ("command", "args", "image", "expected"),
    [
        ((), ("resume", "--all"), "ghcr.io/acme/rollout:1.2", True),
        ((), ("resume", "--all"), "registry:5000/rollout@sha256:00", True),
        ((), ("resume", "--all"), "argoproj/argo-rollouts:1", False),
        ((), ("resume", "--all"), "acme/tools:1", False),
        (("rollout",), ("resume", "--all"), "acme/tools:1", True),
        (("/opt/venv/bin/rollout",), ("resume", "production"), "acme/tools:1", True),
        (("rollout",), ("resume", "--prometheus", "http://p:9090", RUN_ID), "acme/tools:1", True),
        (("rollout",), ("resume", "--prometheus", "production", "payments"), "acme/tools:1", False),
        (("rollout",), ("resume", "payments"), "acme/tools:1", False),
        (("rollout",), ("resume", "--all", "--namespace=payments"), "acme/tools:1", False),
        (
            ("rollout",),
            ("resume", "--all", "--namespace", "payments", "--namespace", "production"),
            "acme/tools:1",
            True,
        ),
        (("rollout",), ("resume", "--all", "--lab", "healthy"), "acme/tools:1", False),
        (("rollout",), ("status",), "acme/tools:1", False),
        (("python", "-m", "rollout"), ("resume", "--all"), "python:3.12", True),
        (("sh", "-c"), ("cd /tmp && rollout resume --all",), "acme/tools:1", True),
        (("sh", "-c"), ("echo 'it isn't rollout resume --all",), "acme/tools:1", True),
        (("sh", "-c"), ("echo it isn't so; rollout resume --all",), "acme/tools:1", True),
        (("sh", "-c"), ("kubectl rollout resume deployment/web",), "acme/tools:1", False),
        (("kubectl",), ("rollout", "resume", "deployment/production"), "bitnami/kubectl:1", False),
        (("kubectl",), ("mtls-rollout", "resume", "--all"), "bitnami/kubectl:1", True),
        (("kubectl",), ("argo", "rollouts", "resume", "production"), "acme/rollout:1", False),
    ],
)
def test_other_peoples_commands(command: tuple[str, ...], args: tuple[str, ...], image: str, expected: bool) -> None:
    """What resumes this run, and what only has the words."""
    container = Container(name="c", image=image, command=command, args=args)
    assert expected == resumes(container, run())


FLIP = Write(
    seq=5,
    change=Change(
        ref=Ref("PeerAuthentication", "production", "default"),
        before=Policy(Mode.PERMISSIVE),
        after=Policy(Mode.STRICT),
        uid="u",
    ),
    intended=NOW,
    done=NOW,
)
RAISE = msgspec.structs.replace(
    FLIP, change=msgspec.structs.replace(FLIP.change, before=Policy(Mode.DISABLE), after=Policy(Mode.PERMISSIVE))
)
GATED = (Task(name="lead agrees", keyword="approve"), Task(name="flip", keyword="strict"))
BY_SIGNAL = Requested(t=NOW, kind=RequestKind.STOP, by="a signal", reason="SIGTERM")
BY_ANA = Requested(t=NOW, kind=RequestKind.STOP, by="ana")
PAUSED, TERMINATED = Outcome.PAUSED.name, Outcome.TERMINATED.name


@pytest.mark.parametrize(
    ("spec", "fields", "why"),
    [
        ({}, {"state": State.CONFIRMING}, ""),
        ({}, {"state": State.WATCHING, "writes": (FLIP,)}, ""),
        ({"terminal": True}, {"state": State.WATCHING, "writes": (FLIP,)}, ""),
        ({"terminal": True}, {"state": State.PERMISSIVE, "writes": (RAISE,)}, ""),
        ({"terminal": True}, {"state": State.CONFIRMING}, "it was not flipped, and was begun at a terminal"),
        ({}, {"state": State.ROLLING_BACK, "outcome": Outcome.INTERRUPTED.name}, ""),
        ({}, {"state": State.ROLLBACK_FAILED, "outcome": Outcome.ROLLBACK_FAILED.name}, ""),
        ({}, {"state": State.ENFORCED, "outcome": Outcome.ENFORCED.name}, "it ended enforced"),
        ({}, {"state": State.BLOCKED, "outcome": Outcome.BLOCKED.name}, "it ended blocked"),
        ({}, {"state": State.OVERRIDDEN, "writes": (FLIP,)}, "it ended overridden"),
        ({"on_stop": OnStop.LEAVE}, {"state": State.WATCHING, "writes": (FLIP,), "outcome": TERMINATED}, ""),
        ({"on_stop": OnStop.LEAVE}, {"state": State.CHECKING, "outcome": TERMINATED, "stop": BY_SIGNAL}, ""),
        (
            {"on_stop": OnStop.LEAVE},
            {"state": State.CHECKING, "outcome": Outcome.INTERRUPTED.name, "stop": BY_ANA},
            "it was stopped before the flip",
        ),
        ({}, {"state": State.CHECKING, "outcome": TERMINATED, "stop": BY_SIGNAL}, "it was stopped before the flip"),
        ({"until": "checking"}, {"state": State.CHECKING, "outcome": PAUSED}, "--until checking"),
        ({"until": "checking"}, {"state": State.CONFIRMING}, ""),
        ({"tasks": GATED}, {"state": State.CHECKING, "outcome": PAUSED}, "it waits for approval of 'lead agrees'"),
        ({"tasks": GATED}, {"state": State.CHECKING, "outcome": PAUSED, "approved": ("lead agrees",)}, ""),
        (
            {"tasks": GATED},
            {"state": State.CHECKING, "outcome": PAUSED, "approved": ("lead agrees",), "held": "freeze"},
            "it is held: freeze",
        ),
        (
            {},
            {"state": State.CHECKING, "outcome": PAUSED, "roll_back": BY_ANA},
            "it was asked to roll back",
        ),
        ({}, {"state": State.CHECKING, "outcome": Outcome.CANNOT_SEE.name}, ""),
        ({"tasks": ()}, {"state": State.CHECKING, "outcome": PAUSED}, "it stopped before the flip as asked"),
    ],
)
def test_resume_all_takes_up_accidents_and_leaves_alone_what_was_meant(
    spec: dict[str, object], fields: dict[str, object], why: str
) -> None:
    """After the flip always; before it, where a process died or somebody since said yes."""
    assert why == left_alone(msgspec.structs.replace(run(**spec), updated=NOW + timedelta(minutes=1), **fields))
