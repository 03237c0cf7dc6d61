"""A change of one PeerAuthentication, and what a STRICT one rests on."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rollout.model.istio import Mode, PeerAuthentication
from rollout.model.kubernetes import Ref


class Policy(msgspec.Struct, frozen=True):
    """The two fields of a PeerAuthentication that rollout may write; `mode` None means that spec.mtls is absent."""

    mode: Mode | None = None
    ports: dict[str, Mode] = {}

    def __hash__(self) -> int:
        """By value: changes are keys of dry runs."""
        return hash((self.mode, tuple(sorted(self.ports.items()))))

    @classmethod
    def of(cls, policy: PeerAuthentication) -> Policy:
        """What stands in the object."""
        mode = policy.spec.mtls.mode if policy.spec.mtls else None
        return cls(mode, {port: mtls.mode for port, mtls in policy.spec.port_level_mtls.items()})

    def __str__(self) -> str:
        """`PERMISSIVE`, `absent`, `STRICT, port 8080 PERMISSIVE`."""
        head = str(self.mode) if self.mode else "absent"
        return ", ".join([head, *(f"port {port} {mode}" for port, mode in sorted(self.ports.items()))])


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One object from `before` to `after`; its inverse is itself turned round.

    `before` None: the object does not exist and is created. `after` None: it is deleted, which only
    `rollback --to-start` does, to an object that rollout created, and only if no effective mode changes.
    `uid` is the object's identity: an object deleted and made again is another one ('' for a creation).
    `selector` are the labels of a created workload policy, empty for one that holds for the namespace.
    """

    ref: Ref
    before: Policy | None
    after: Policy | None
    uid: str = ""
    selector: tuple[tuple[str, str], ...] = ()

    @property
    def inverse(self) -> Change:
        """The way back."""
        return Change(ref=self.ref, before=self.after, after=self.before, uid=self.uid, selector=self.selector)

    @property
    def strict(self) -> bool:
        """It asks for STRICT where it was not asked for before, and so needs a Permit."""
        before, after = self.before or Policy(), self.after or Policy()
        ports = {port for port, mode in after.ports.items() if mode is Mode.STRICT}
        return (after.mode is Mode.STRICT and before.mode is not Mode.STRICT) or any(
            before.ports.get(port) is not Mode.STRICT for port in ports
        )

    def __str__(self) -> str:
        """`PeerAuthentication production/default PERMISSIVE -> STRICT`."""
        return f"{self.ref} {self.before or 'absent'} -> {self.after or 'deleted'}"


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """What a STRICT write rests on; made by the gate alone.

    `resource_version` is the object's at the gate and goes into the write's body: what changed since then refuses the
    write (409) and the gate is asked again.
    """

    at: datetime
    resource_version: str
    oldest_read: datetime
    evidence: str
    evidence_end: datetime
    checks: str
    undo_proof: str
