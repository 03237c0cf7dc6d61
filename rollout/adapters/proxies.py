"""What a proxy tells of itself, by `pilot-agent request` in its container: `ports.Proxies` and `ports.Loggers`.

istioctl is asked for the certificates where there is one; what it cannot do, exec may. Of secrets only certificates
are kept: everything else in an answer is left out before it is handed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rollout.adapters import process
from rollout.adapters.websocket import Ran
from rollout.errors import Outcome, RolloutError
from rollout.model.kubernetes import Ref
from rollout.ports import InboundChain

CONTAINER = "istio-proxy"
_INBOUND = "virtualInbound"
_ISTIOCTL_LIMIT = 30.0
_LEVEL = re.compile(r"^ {2}(?P<name>[\w-]+): (?P<level>\w+)$", re.MULTILINE)

Execute = Callable[[Ref, str, Sequence[str]], Ran]
Run = Callable[[Sequence[str]], process.Finished]


class _Match(msgspec.Struct, frozen=True):
    destination_port: int | None = None
    transport_protocol: str = ""


class _Tls(msgspec.Struct, frozen=True):
    require_client_certificate: bool = False


class _Socket(msgspec.Struct, frozen=True):
    name: str = ""
    typed_config: _Tls = _Tls()


class _Chain(msgspec.Struct, frozen=True):
    filter_chain_match: _Match = _Match()
    transport_socket: _Socket | None = None


class _Listener(msgspec.Struct, frozen=True):
    filter_chains: tuple[_Chain, ...] = ()


class _State(msgspec.Struct, frozen=True):
    listener: _Listener = _Listener()


class _Dynamic(msgspec.Struct, frozen=True):
    name: str = ""
    active_state: _State | None = None


class _Dump(msgspec.Struct, frozen=True):
    configs: tuple[_Dynamic, ...] = ()


def _run(argv: Sequence[str]) -> process.Finished:
    return process.run(argv, limit=_ISTIOCTL_LIMIT)


class PilotAgents:
    """The proxies of a cluster.

    Args:
        execute: runs a command in a pod's container.
        istioctl: the binary with its --kubeconfig and --context; () where it is not to be asked.
        run: starts it.
    """

    def __init__(self, execute: Execute, *, istioctl: Sequence[str] = (), run: Run = _run) -> None:
        """Nothing is asked yet."""
        self._execute = execute
        self._istioctl, self._run = tuple(istioctl), run

    def certs(self, pod: Ref) -> bytes:
        """`ports.Proxies`."""
        return self._request(pod, "GET", "certs")

    def config_dump(self, pod: Ref) -> bytes:
        """The secrets alone, without keys; istioctl's answer where it gives one."""
        told = self._by_istioctl(pod)
        if told is not None:
            return told
        only = certificates_only(self._request(pod, "GET", "config_dump?resource=dynamic_active_secrets"))
        return only if only is not None else self._whole(pod)

    def inbound(self, pod: Ref) -> tuple[InboundChain, ...]:
        """`ports.Proxies`."""
        try:
            told = msgspec.json.decode(self._request(pod, "GET", "config_dump?resource=dynamic_listeners"), type=_Dump)
        except msgspec.MsgspecError as error:
            raise _unusable(pod, "the proxy's listeners are no JSON of Envoy's") from error
        found = [each for each in told.configs if each.name == _INBOUND and each.active_state is not None]
        if not found or found[0].active_state is None:
            raise _unusable(pod, f"the proxy has no listener {_INBOUND}")
        return tuple(_chain(chain) for chain in found[0].active_state.listener.filter_chains)

    def metrics(self, pod: Ref) -> bytes:
        """What Prometheus scrapes of the proxy."""
        return self._request(pod, "GET", "stats/prometheus?usedonly")

    def levels(self, pod: Ref) -> Mapping[str, str]:
        """`ports.Loggers`."""
        told = self._request(pod, "POST", "logging").decode(errors="replace")
        found = {match["name"]: match["level"] for match in _LEVEL.finditer(told)}
        if not found:
            raise _unusable(pod, "the proxy does not list its loggers")
        return found

    def set_levels(self, pod: Ref, levels: Mapping[str, str]) -> None:
        """`ports.Loggers`, in one request."""
        wanted = ",".join(f"{name}:{level}" for name, level in sorted(levels.items()))
        told = self._request(pod, "POST", f"logging?paths={wanted}").decode(errors="replace")
        found = {match["name"]: match["level"] for match in _LEVEL.finditer(told)}
        missed = sorted(name for name, level in levels.items() if found.get(name) != level)
        if missed:
            raise _unusable(pod, f"the proxy did not change the levels of {', '.join(missed)}")

    def _whole(self, pod: Ref) -> bytes:
        """An Envoy that knows no `resource`."""
        only = certificates_only(self._request(pod, "GET", "config_dump"))
        if only is None:
            raise _unusable(pod, "the config_dump of the proxy holds no secrets")
        return only

    def _request(self, pod: Ref, method: str, path: str) -> bytes:
        ran = self._execute(pod, CONTAINER, ("pilot-agent", "request", method, path))
        if ran.code:
            said = ran.err.decode(errors="replace").strip().removeprefix("Error: ").partition("\n")[0][:300]
            raise _unusable(pod, f"pilot-agent ended with exit status {ran.code}: {said or 'it said nothing'}")
        return ran.out

    def _by_istioctl(self, pod: Ref) -> bytes | None:
        """`istioctl proxy-config secret`; None where there is none, or it failed."""
        if not self._istioctl:
            return None
        head, *options = self._istioctl
        try:
            done = self._run([head, "proxy-config", "secret", f"{pod.name}.{pod.namespace}", "-o", "json", *options])
        except OSError:
            return None
        if done.code is None:  # nor would it answer for the next pod, and each would cost as much time
            self._istioctl = ()
        return certificates_only(done.out) if done.code == 0 else None


def _chain(chain: _Chain) -> InboundChain:
    match, socket = chain.filter_chain_match, chain.transport_socket
    return InboundChain(
        port=match.destination_port or 0,
        transport=match.transport_protocol,
        tls=socket is not None and socket.name.endswith("tls"),
        client_certificate=socket is not None and socket.typed_config.require_client_certificate,
    )


def certificates_only(text: bytes) -> bytes | None:
    """Names, times and certificates of a dump's secrets in the shape of `SecretsConfigDump`; None: it holds none."""
    try:
        dump = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    active: list[dict[str, Any]] = []
    warming: list[dict[str, Any]] = []
    known = False
    for part in _parts(dump):
        for kind, found in (("active", active), ("warming", warming)):
            for key in (f"dynamic_{kind}_secrets", f"dynamic{kind.capitalize()}Secrets"):
                known = known or key in part
                found += [_kept(entry) for entry in part.get(key) or () if isinstance(entry, dict)]
        if str(part.get("@type", "")).endswith("SecretsConfigDump.DynamicSecret"):
            known = True
            active.append(_kept(part))
    if not known and not (isinstance(dump, dict) and dump.get("configs") == []):
        return None
    return msgspec.json.encode({"dynamic_active_secrets": active, "dynamic_warming_secrets": warming})


def _parts(dump: Any) -> Iterable[dict[str, Any]]:
    if isinstance(dump, dict):
        yield dump
        configs = dump.get("configs")
        yield from (part for part in configs if isinstance(part, dict)) if isinstance(configs, list) else ()


def _kept(entry: dict[str, Any]) -> dict[str, Any]:
    secret = entry.get("secret") or {}
    kept: dict[str, Any] = {}
    for outer, inner in (("tls_certificate", "certificate_chain"), ("validation_context", "trusted_ca")):
        holder = secret.get(outer) or secret.get(_camel(outer)) or {}
        source = holder.get(inner) or holder.get(_camel(inner)) or {}
        data = {key: source.get(key) or source.get(_camel(key)) for key in ("inline_bytes", "inline_string")}
        if any(data.values()):
            kept[outer] = {inner: {key: value for key, value in data.items() if value}}
    updated = entry.get("last_updated") or entry.get("lastUpdated") or ""
    return {"name": entry.get("name") or "", "last_updated": updated, "secret": kept}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _unusable(pod: Ref, problem: str) -> RolloutError:
    return RolloutError(problem, where=str(pod), outcome=Outcome.CANNOT_SEE)
