"""What a run was asked to do, resolved once: resume needs no playbook file and takes no flag that changes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from rollout.model.istio import MeshConfig


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task of the playbook after resolution: `keyword` fills one state; `args` are the stage's, as plain values.

    `line` is where it stands in the playbook, 0 for an implicit one.
    """

    name: str
    keyword: str
    args: dict[str, Any] = {}
    line: int = 0


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """This may be cut: findings of `check` on `object` (a glob over what the finding prints) do not block.

    A nameless caller's waiver stands for all nameless callers of the workload and needs `max_rate`, in events per
    second; above it the waiver is void. An expired one fails.
    """

    check: str
    object: str
    reason: str
    owner: str = ""
    expires: datetime | None = None
    max_rate: float | None = None


class Exemption(msgspec.Struct, frozen=True, kw_only=True):
    """This must go on working.

    Either `object` is a workload PeerAuthentication that the user made, which is accepted as it is; or `workload`
    (`NAMESPACE/NAME`) and `port` (a container's, or a Service's that leads to it) name what rollout keeps PERMISSIVE
    itself, and `object` is `NAMESPACE/NAME:PORT`. `max_rate`, in events per second, is the ceiling of plaintext that
    the metrics cannot tell from this port's.
    """

    object: str
    reason: str
    owner: str = ""
    expires: datetime | None = None
    workload: str = ""
    port: int = 0
    max_rate: float | None = None


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """A caller that was repaired at `at`: one period of it without plaintext is enough."""

    edge: str
    at: datetime
    reason: str


class OnStop(StrEnum):
    """What an orderly stop after the flip does."""

    ROLL_BACK = "roll_back"
    LEAVE = "leave"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where and by whom: no secrets."""

    context: str = ""
    server: str = ""
    kubernetes: str = ""
    istio: str = ""
    user: str = ""
    prometheus: str = ""
    history: str = ""
    tool: str = ""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A run's assignment.

    Args:
        run: `production-20260302-1012-b4`.
        namespace: the one namespace of the run.
        tasks: in the machine's order, implicit ones included.
        batch: label shared by the runs of one command, '' for a single one.
        terminal: a human sits at it; without one, idle needs `allow_idle` and a pause ends the process.
        until: `permissive`, `confirming` or `checking`: stop there on purpose.
        max_duration: refuse to flip unless drain, watch and rollback still fit.
        permissive_since: when plaintext began to be accepted, where the record does not tell.
        metrics_match: matchers added to every query, such as `cluster="eu1"`.
        mesh: the MeshConfig that was read at the start.
        holes: spans in which earlier runs of ours kept the namespace STRICT: plaintext left no series there.
        enforced_before: an earlier run of ours ended `enforced` here.
        short_evidence: why evidence over less than the look-back is enough, where Prometheus knows no more.
        repo: a working copy in which `via: commit` edits the policy's file.
        accept_slow_rollback: flip by commit although a revert may not be applied in time.
        plan: a dry run: the journal lives in memory and a block is passed by the trigger `assume`.
    """

    run: str
    namespace: str
    tasks: tuple[Task, ...]
    started: datetime
    playbook: str = ""
    playbook_sha: str = ""
    playbook_name: str = "strict-mtls.yaml"
    batch: str = ""
    origin: Origin = Origin()
    waivers: tuple[Waiver, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    fixed: tuple[Fixed, ...] = ()
    terminal: bool = False
    allow_idle: bool = False
    allow_system: bool = False
    override_owner: bool = False
    require_guard: bool = False
    on_stop: OnStop = OnStop.ROLL_BACK
    until: str = ""
    max_duration: timedelta | None = None
    permissive_since: datetime | None = None
    permissive_reason: str = ""
    metrics_match: str = ""
    state_namespace: str = ""
    mesh: MeshConfig = MeshConfig()
    enforced_before: bool = False
    holes: tuple[tuple[datetime, datetime], ...] = ()
    plan: bool = False
    short_evidence: str = ""
    repo: str = ""
    accept_slow_rollback: bool = False

    @property
    def record_namespace(self) -> str:
        """Where the ConfigMap and the Lease live."""
        return self.state_namespace or self.namespace

    @property
    def root_namespace(self) -> str:
        """Where a policy holds for the whole mesh."""
        return self.mesh.root_namespace

    @property
    def drain(self) -> float:
        """drainDuration, in seconds: when the flip cuts what is still open."""
        return self.mesh.drain_seconds

    def task(self, keyword: str) -> Task | None:
        """The first task with this keyword."""
        return next((task for task in self.tasks if task.keyword == keyword), None)
