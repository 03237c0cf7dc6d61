"""Programs in the lab's containers: `pilot-agent request` in istio-proxy, which asks Envoy's admin interface, and curl.

The images are distroless: no shell, no curl. What pilot-agent prints and how it ends follows its source: the body and a
line end, for 404 too; any other status from 400 on is an error.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

from rollout.lab import x509
from rollout.lab.api.exec import Executed, not_found
from rollout.lab.mesh.curl import Curl
from rollout.lab.mesh.identity import Holding, Identities
from rollout.lab.mesh.listener import Action, Chain
from rollout.lab.mesh.loggers import Refused
from rollout.lab.mesh.proxy import Proxy
from rollout.lab.mesh.simulation import Simulation

Json = dict[str, Any]
Page = tuple[int, str]

_TYPES = "type.googleapis.com/envoy"
_SECRET = f"{_TYPES}.extensions.transport_sockets.tls.v3.Secret"
_REDACTED = base64.b64encode(b"[redacted]").decode()
_FAILED = 255


class Agents:
    """Runs commands in containers.

    Args:
        simulation: the mesh; one thread looks at it at a time.
        identities: what the proxies hold.
        catch_up: lets time run to the present first.
    """

    def __init__(self, simulation: Simulation, identities: Identities, catch_up: Callable[[], None]) -> None:
        """Run nothing yet."""
        self._simulation, self._identities, self._catch_up = simulation, identities, catch_up
        self._curl = Curl(simulation)

    def run(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        stdin: Callable[[], bytes],  # noqa: ARG002 - nothing here reads it
    ) -> Executed:
        """`ExecSource` of the API."""
        if container != "istio-proxy":
            return self._called((namespace, pod), container, command)
        if command[0] != "pilot-agent":
            return not_found(command)
        if list(command[1:2]) != ["request"] or len(command) < 4:
            text = f'Error: unknown command {" ".join(command[1:])!r} for "pilot-agent"\n'
            return Executed(code=_FAILED, err=text.encode())
        self._catch_up()
        pages: list[Page] = []
        self._simulation.act(lambda now: pages.append(self._page((namespace, pod), command[2], command[3], now)))
        status, text = pages[0]
        if status >= 400 and status != 404:
            return Executed(code=_FAILED, err=f"Error: received unsuccessful status code {status}: {text}\n".encode())
        return Executed(out=text.encode() + b"\n")

    def _called(self, key: tuple[str, str], container: str, command: Sequence[str]) -> Executed:
        """A program of the application's image."""
        self._catch_up()
        found: list[Executed] = []

        def call(now: int) -> None:
            view = self._simulation.catalog.pod(*key)
            if view is None or not view.running:
                found.append(Executed(failure=f"container {container} is not running"))
            else:
                found.append(self._curl.run(view, container, command, now))

        self._simulation.act(call)
        return found[0]

    def _page(self, key: tuple[str, str], method: str, target: str, now: int) -> Page:
        proxy = self._simulation.proxies.get(key)
        if proxy is None:
            return 503, "the proxy does not run"
        path, _, query = target.strip("/").partition("?")
        match path:
            case "certs":
                return 200, json.dumps(_certs(self._holding(proxy, now), now), indent=1)
            case "config_dump":
                return self._config_dump(proxy, query, now)
            case "server_info":
                return 200, json.dumps(_server_info(proxy, now), indent=1)
            case "stats":
                return 200, _stats(proxy, now)
            case "stats/prometheus":
                return 200, _prometheus(proxy, now)
            case "logging":
                return self._logging(proxy, method, query, now)
            case "ready":
                return 200, "LIVE\n"
            case _:
                return (
                    404,
                    "invalid path. admin commands are:\n  /certs /config_dump /logging /ready /server_info /stats\n",
                )

    def _holding(self, proxy: Proxy, now: int) -> Holding:
        return self._identities.holding(proxy.pod, now)

    def _logging(self, proxy: Proxy, method: str, query: str, now: int) -> Page:
        if method != "POST":
            if query:
                return 405, "Method Not Allowed"
            return 200, proxy.levels.shown()
        try:
            if query:
                proxy.levels.change(query, now)
                self._simulation.raised()
        except Refused as why:
            return 400, proxy.levels.shown(str(why))
        return 200, proxy.levels.shown()

    def _config_dump(self, proxy: Proxy, query: str, now: int) -> Page:
        secrets = _secrets(self._holding(proxy, now))
        wanted = parse_qs(query).get("resource", [""])[0]
        if wanted == "dynamic_active_secrets":
            typed = [{"@type": f"{_TYPES}.admin.v3.SecretsConfigDump.DynamicSecret", **each} for each in secrets]
            return 200, json.dumps({"configs": typed}, indent=1)
        if wanted == "dynamic_listeners":
            typed = [{"@type": f"{_TYPES}.admin.v3.ListenersConfigDump.DynamicListener", **_inbound(proxy)}]
            return 200, json.dumps({"configs": typed}, indent=1)
        if wanted:
            return 404, f"{wanted} not found in config dump"
        configs = [
            {"@type": f"{_TYPES}.admin.v3.BootstrapConfigDump", "bootstrap": {"node": _node(proxy)}},
            {"@type": f"{_TYPES}.admin.v3.ListenersConfigDump", "dynamic_listeners": [_inbound(proxy)]},
            {"@type": f"{_TYPES}.admin.v3.SecretsConfigDump", "dynamic_active_secrets": secrets},
        ]
        return 200, json.dumps({"configs": configs}, indent=1)


def _secrets(holding: Holding) -> list[Json]:
    updated = f"{holding.updated:%Y-%m-%dT%H:%M:%S}.000Z"
    chain = {
        "certificate_chain": {"inline_bytes": _encoded(holding.leaf, holding.root)},
        "private_key": {"inline_bytes": _REDACTED},
    }
    roots = {"trusted_ca": {"inline_bytes": _encoded(holding.root)}}
    return [
        {"name": name, "last_updated": updated, "secret": {"@type": _SECRET, "name": name, kind: value}}
        for name, kind, value in (("default", "tls_certificate", chain), ("ROOTCA", "validation_context", roots))
    ]


def _encoded(*certificates: x509.Certificate) -> str:
    return base64.b64encode(b"".join(each.pem for each in certificates)).decode()


def _certs(holding: Holding, now: int) -> Json:
    chain = [_listed(holding.leaf, "<inline>", now), _listed(holding.root, "<inline>", now)]
    return {"certificates": [{"ca_cert": [_listed(holding.root, "<inline>", now)], "cert_chain": chain}]}


def _listed(certificate: x509.Certificate, path: str, now: int) -> Json:
    days = (certificate.not_after.timestamp() - now / 1000) // 86_400
    return {
        "path": path,
        "serial_number": f"{certificate.serial:x}",
        "subject_alt_names": [{"uri": certificate.uri}] if certificate.uri else [],
        "days_until_expiration": str(max(0, int(days))),
        "valid_from": f"{certificate.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "expiration_time": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
    }


def _inbound(proxy: Proxy) -> Json:
    """`virtualInbound` as far as its chains' matches and TLS go."""
    listener = proxy.listener
    assert listener is not None, "a proxy has a listener when it answers"
    chains = [{"name": "virtualInbound-blackhole", "filter_chain_match": {"destination_port": 15006}}]
    chains += [_filter_chain(chain, port) for port, found in listener.ports.items() for chain in found]
    chains += [_filter_chain(chain, 0) for chain in listener.catch_all]
    name = "virtualInbound"
    body = {"@type": f"{_TYPES}.config.listener.v3.Listener", "name": name, "filter_chains": chains}
    return {"name": name, "active_state": {"listener": body}}


def _filter_chain(chain: Chain, port: int) -> Json:
    match: Json = {"destination_port": port} if port else {}
    match["transport_protocol"] = "tls" if chain.tls else "raw_buffer"
    if chain.istio_alpn:
        match["application_protocols"] = [
            "istio",
            "istio-peer-exchange",
            "istio-http/1.0",
            "istio-http/1.1",
            "istio-h2",
        ]
    made: Json = {"name": f"0.0.0.0_{port}" if port else "virtualInbound", "filter_chain_match": match}
    if chain.action is Action.TERMINATE:
        context = f"{_TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
        config = {"@type": context, "require_client_certificate": True}
        made["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": config}
    return made


def _node(proxy: Proxy) -> Json:
    pod = proxy.pod
    role = "router" if pod.gateway else "sidecar"
    identity = f"{role}~{pod.ip}~{pod.name}.{pod.namespace}~{pod.namespace}.svc.cluster.local"
    return {"id": identity, "metadata": {"NAMESPACE": pod.namespace, "ISTIO_VERSION": proxy.version}}


def _server_info(proxy: Proxy, now: int) -> Json:
    uptime = f"{(now - proxy.started) // 1000}s"
    return {
        "version": f"{'0' * 40}/1.36.2-dev/Clean/RELEASE/BoringSSL",
        "state": "LIVE",
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "command_line_options": {"log_level": "warning", "component_log_level": "misc:error", "concurrency": 2},
        "node": _node(proxy),
    }


def _stats(proxy: Proxy, now: int) -> str:
    found = {"server.uptime": (now - proxy.started) // 1000, "server.live": 1}
    for name, _, value in proxy.meter.values(now):
        if name.startswith("envoy_"):
            found[name.removeprefix("envoy_").replace("listener_manager_", "listener_manager.", 1)] = math.floor(value)
    return "".join(f"{name}: {value}\n" for name, value in sorted(found.items()))


def _prometheus(proxy: Proxy, now: int) -> str:
    lines = []
    for name, labels, value in proxy.meter.values(now):
        pairs = ",".join(f'{key}="{text}"' for key, text in labels)
        lines.append(f"{name}{{{pairs}}} {value:g}\n")
    return "".join(sorted(lines))
