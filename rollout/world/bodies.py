"""What a Change looks like on the wire: the same body for the dry run and for the write."""

from __future__ import annotations

from typing import Any

from rollout.record.change import Change, Policy

MANAGED_BY = {"app.kubernetes.io/managed-by": "rollout"}


def body_of(change: Change, resource_version: str = "") -> dict[str, Any]:
    """The object to create, or the merge patch that leads from `before` to `after`.

    A patch names only `spec.mtls` and the ports that differ, so that nothing of anybody else is written;
    `resource_version` in it is the optimistic lock. Deletions have no body.

    Raises:
        ValueError: the change deletes.
    """
    if change.after is None:
        raise ValueError(f"{change} has no body")
    if change.before is None:
        return _creation(change, change.after)
    metadata = {"metadata": {"resourceVersion": resource_version}} if resource_version else {}
    return {**metadata, "spec": _difference(change.before, change.after)}


def _creation(change: Change, after: Policy) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if change.selector:
        spec["selector"] = {"matchLabels": dict(change.selector)}
    if after.mode is not None:
        spec["mtls"] = {"mode": str(after.mode)}
    if after.ports:
        spec["portLevelMtls"] = {port: {"mode": str(mode)} for port, mode in after.ports.items()}
    return {
        "metadata": {"name": change.ref.name, "namespace": change.ref.namespace, "labels": dict(MANAGED_BY)},
        "spec": spec,
    }


def _difference(before: Policy, after: Policy) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if before.mode is not after.mode:
        spec["mtls"] = None if after.mode is None else {"mode": str(after.mode)}
    ports: dict[str, Any] = {
        port: {"mode": str(mode)} for port, mode in after.ports.items() if before.ports.get(port) is not mode
    }
    ports |= {port: None for port in before.ports if port not in after.ports}
    if ports:
        spec["portLevelMtls"] = ports if after.ports else None
    return spec
