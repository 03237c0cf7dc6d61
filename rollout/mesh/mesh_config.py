"""The parts of MeshConfig that rules read, from the ConfigMaps `istio` and `istio-<revision>` (istio.md 2.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec
import yaml

from rollout.errors import Outcome, RolloutError
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import ConfigMap

_DURATION = re.compile(r"(\d+(?:\.\d*)?)(h|ms|us|µs|ns|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_NAME = re.compile(r"istio(?:-(?P<revision>.+))?")
_INJECTOR = "istio-sidecar-injector"


def parse(configmap: ConfigMap) -> MeshConfig:
    """The settings, with Istio's defaults for what is absent.

    Raises:
        RolloutError: the key `mesh` is not a YAML mapping, or a field has another type than Istio's.
    """
    mesh = _mapping(configmap, "mesh", configmap.data.get("mesh", ""))
    proxy = mesh.get("defaultConfig") or {}
    match = _NAME.fullmatch(configmap.name)
    default = MeshConfig()
    try:
        return MeshConfig(
            revision=(match["revision"] if match else None) or "default",
            namespace=configmap.namespace,
            root_namespace=str(mesh.get("rootNamespace") or configmap.namespace or default.root_namespace),
            enable_auto_mtls=mesh.get("enableAutoMtls") is not False,
            trust_domain=str(mesh.get("trustDomain") or default.trust_domain),
            trust_domain_aliases=_names(mesh.get("trustDomainAliases")),
            drain_seconds=seconds(proxy.get("drainDuration", "45s")),
            status_port=int(proxy.get("statusPort") or default.status_port),
            default_destination_rule_export_to=tuple(mesh.get("defaultDestinationRuleExportTo") or ("*",)),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise _unreadable(configmap, str(error)) from error


def mesh_config(configmaps: Iterable[ConfigMap], revision: str = "default") -> MeshConfig:
    """The MeshConfig of a revision; with a single control plane, that one's, and Istio's defaults without any.

    Whether probes are rewritten stands beside it, in the injector's own ConfigMap.

    Raises:
        RolloutError: unreadable, or there are several control planes and none of this revision.
    """
    found = {(c.namespace, c.name): c for c in configmaps}
    meshes = sorted(
        (c for c in found.values() if "mesh" in c.data and _NAME.fullmatch(c.name)),
        key=lambda c: (c.namespace != MeshConfig().namespace, c.namespace, c.name),
    )
    wanted = "istio" if revision in ("", "default") else f"istio-{revision}"
    chosen = next((c for c in meshes if c.name == wanted), None)
    if chosen is None:
        if not meshes:
            return MeshConfig(revision=revision or "default")
        if len(meshes) > 1:
            raise _ambiguous(revision, meshes)
        chosen = meshes[0]
    config = parse(chosen)
    suffix = chosen.name.removeprefix("istio")
    injector = found.get((chosen.namespace, _INJECTOR + suffix))
    return msgspec.structs.replace(config, rewrite_probes=_rewrites(injector))


def seconds(duration: object) -> float:
    """A protobuf or Go duration such as `45s`, `1m30s`, `0.5s`. Raises ValueError for anything else."""
    text = str(duration).strip()
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _rewrites(injector: ConfigMap | None) -> bool:
    """sidecarInjectorWebhook.rewriteAppHTTPProbe of the installation's values; true unless they say false."""
    if injector is None:
        return True
    try:
        values = json.loads(injector.data.get("values", "{}"))
        return values.get("sidecarInjectorWebhook", {}).get("rewriteAppHTTPProbe", True) is not False
    except (ValueError, AttributeError) as error:
        raise _unreadable(injector, str(error)) from error


def _names(value: object) -> tuple[str, ...]:
    """A list of names; a single text would fall apart into its letters, and matches nothing in Istio either."""
    if value is not None and not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return tuple(str(each) for each in value or ())


def _mapping(configmap: ConfigMap, key: str, text: str) -> dict[str, Any]:
    try:
        value = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise _unreadable(configmap, str(error)) from error
    if not isinstance(value, dict):
        raise _unreadable(configmap, f"{key} is no mapping")
    return value


def _ambiguous(revision: str, meshes: Iterable[ConfigMap]) -> RolloutError:
    names = ", ".join(f"{c.namespace}/{c.name}" for c in meshes)
    return RolloutError(
        f"no MeshConfig belongs to revision {revision!r}",
        limit=f"one of {names}",
        next="kubectl get configmaps -A -l istio.io/rev",
        outcome=Outcome.CANNOT_SEE,
    )


def _unreadable(configmap: ConfigMap, why: str) -> RolloutError:
    return RolloutError(
        "the mesh's configuration cannot be read",
        where=f"{configmap.ref}: {' '.join(why.split())}",
        next=f"kubectl get configmap {configmap.name} -n {configmap.namespace} -o yaml",
        outcome=Outcome.CANNOT_SEE,
    )
