"""curl in containers whose image has it: a call goes through the simulated mesh, and ends as curl would say it.

What both ends count and write is what `Network` makes of any other call. Applications answer 200; those on TCP ports
send back what they get.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import SplitResult, urlsplit

from rollout.lab.api.exec import Executed, not_found
from rollout.lab.mesh.catalog import PodView, ServiceView
from rollout.lab.mesh.labels import Target
from rollout.lab.mesh.listener import APP_TLS, PLAINTEXT, Answer, Protocol
from rollout.lab.mesh.outcome import UNHEALTHY, Side
from rollout.lab.mesh.simulation import Simulation
from rollout.lab.mesh.traffic import Dial, Traffic

_RESET = 56, "Recv failure: Connection reset by peer"
_EMPTY = 52, "Empty reply from server"
_BODIES = {
    "UC": "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
    "URX,UF": "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote "
    "connection failure",
    "UH": "no healthy upstream",
}


class Curl:
    """Calls from containers.

    Args:
        simulation: the mesh.
    """

    def __init__(self, simulation: Simulation) -> None:
        """Call nobody yet."""
        self._simulation = simulation
        self._calls = 0

    def run(self, pod: PodView, container: str, command: Sequence[str], now: int) -> Executed:
        """One call, at the present instant."""
        stored = self._simulation.catalog.get("Pod", *pod.key) or {}
        images = {c["name"]: c.get("image", "") for c in stored["spec"]["containers"]}
        if "curl" not in images.get(container, "") or command[0] != "curl":
            return not_found(command)
        url = urlsplit(_option(command, "--url"))
        found = self._aimed(url)
        if found is None:
            return _failed(command, 6, f"Could not resolve host: {url.hostname}")
        service, target = found
        self._calls += 1
        traffic = _traffic(url, service, target)
        dial = self._dial(traffic, pod, service, target)
        if service is not None:
            self._simulation.network.once(traffic, dial, self._simulation.network.counts(traffic, dial))
            self._simulation.network.logged_once(traffic, dial, now)
        return self._told(command, traffic, dial)

    def _aimed(self, url: SplitResult) -> tuple[ServiceView | None, PodView | None] | None:
        """A Service by its name, or a pod by its address with a Service that selects it."""
        host = url.hostname or ""
        name, _, namespace = host.removesuffix(".svc").partition(".")
        service = self._simulation.catalog.service(namespace, name)
        if service is not None and host.endswith(".svc"):
            return service, None
        pod = next((p for p in self._simulation.catalog.pods() if p.ip == host and p.running), None)
        if pod is None:
            return None
        return next((s for s in self._simulation.catalog.services() if s.selects(pod)), None), pod

    def _dial(self, traffic: Traffic, source: PodView, service: ServiceView | None, pod: PodView | None) -> Dial:
        network = self._simulation.network
        if service is not None and pod is None:
            ends = network.destinations(traffic)
            return network.dial(traffic, source, ends[self._calls % len(ends)] if ends else None)
        assert pod is not None, "an address is a pod's"
        hello = APP_TLS if traffic.own_tls else PLAINTEXT  # a sidecar passes on what it does not know
        target = Target(
            pod.namespace, pod.name, traffic.port, traffic.port in self._simulation.catalog.declared(pod), True
        )
        made = Dial(source, pod, target, hello, network.reach(pod, traffic.port, hello, traffic.protocol))
        decided = made.answer in (Answer.MUTUAL_TLS, Answer.PLAIN)
        return replace(made, verdict=network.decided(traffic, made)) if decided else made

    def _told(self, command: Sequence[str], traffic: Traffic, dial: Dial) -> Executed:
        source = dial.source
        assert source is not None, "curl runs in a pod"
        denied = dial.verdict is not None and not dial.verdict.allowed
        served = not denied and (dial.served or (dial.answer is None and traffic.own_tls))
        if denied:
            http = traffic.protocol == "http"
            return _answered(command, "403", "RBAC: access denied") if http else _failed(command, *_EMPTY)
        if served:
            echoed = traffic.protocol == "tcp" and not traffic.own_tls
            return _answered(command, "000" if echoed else "200", "GET / HTTP/1.1" if echoed else "ok")
        if not source.proxied:
            return self._refused(command, traffic, dial)
        if traffic.protocol == "tcp":
            return _failed(command, *_RESET)
        counts = self._simulation.network.counts(traffic, dial)
        flags = next(count.flags for count in counts if count.side is Side.SOURCE)
        return _answered(command, "503", _BODIES[flags])

    @staticmethod
    def _refused(command: Sequence[str], traffic: Traffic, dial: Dial) -> Executed:
        """Without a sidecar one hears the other side itself."""
        if dial.answer == UNHEALTHY:
            return _failed(
                command, 7, f"Failed to connect to {dial.target.name} port {traffic.port}: Connection refused"
            )
        if dial.answer is Answer.NO_CERTIFICATE:
            return _failed(command, 16, "SSL alert: certificate required")
        if traffic.own_tls:
            return _failed(command, 35, "Recv failure: Connection reset by peer")
        return _failed(command, *_RESET)


def _traffic(url: SplitResult, service: ServiceView | None, pod: PodView | None) -> Traffic:
    port = url.port or (443 if url.scheme == "https" else 80)
    own = url.scheme == "https"
    declared = service.port(port).protocol if service is not None and pod is None else Protocol.AUTO
    place = (service.namespace, service.name) if service is not None else ("", "")
    return Traffic(
        "curl", None, place, port, protocol="tcp" if own or declared is Protocol.TCP else "http",
        own_tls=own, pod_ip=pod is not None, path=url.path or "/",
    )  # fmt: skip


def _option(command: Sequence[str], name: str) -> str:
    return command[list(command).index(name) + 1] if name in command[:-1] else ""


def _answered(command: Sequence[str], code: str, body: str) -> Executed:
    return Executed(out=body.encode() + _measured(command, code, len(body)))


def _failed(command: Sequence[str], code: int, said: str) -> Executed:
    return Executed(code=code, out=_measured(command, "000", 0), err=f"curl: ({code}) {said}\n".encode())


def _measured(command: Sequence[str], code: str, size: int) -> bytes:
    told = _option(command, "--write-out")
    for name, value in (
        ("http_code", code), ("time_connect", "0.001"), ("time_appconnect", "0.000"), ("size_download", str(size)),
    ):  # fmt: skip
        told = told.replace(f"%{{{name}}}", value)
    return told.encode()
