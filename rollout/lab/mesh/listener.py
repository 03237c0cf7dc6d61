"""A sidecar's inbound listener: the filter chains per port, which one a connection matches, what an update drains.

Chains follow istio.md 2.2; what a match leads to follows observed.md a, e, g and j; drains follow observed.md b.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rollout.lab.mesh.policy import Mode, PodModes


class Protocol(StrEnum):
    """How a Service declares a port; AUTO is sniffed, as are ports that no Service declares."""

    HTTP = "http"
    TCP = "tcp"
    AUTO = "auto"


class Action(StrEnum):
    """What a filter chain does with the bytes."""

    TERMINATE = "terminate mutual TLS"
    PASS_THROUGH = "pass TLS through"  # noqa: S105
    FORWARD = "forward as it is"


@dataclass(frozen=True, slots=True)
class Chain:
    """One filter chain: `tls` and `istio_alpn` are its match, `http` says which filters it has."""

    tls: bool
    istio_alpn: bool
    action: Action
    http: bool


@dataclass(frozen=True, slots=True)
class Listener:
    """`virtualInbound`: chains per declared or exempted port, catch-all chains, and what the inspectors look at.

    `tls_inspected` and `http_inspected` hold ports; 0 stands for every port without chains of its own.
    """

    ports: Mapping[int, tuple[Chain, ...]]
    catch_all: tuple[Chain, ...]
    tls_inspected: frozenset[int]
    http_inspected: frozenset[int]

    def chains(self, port: int) -> tuple[Chain, ...]:
        """The chains that a connection to this port may match."""
        return self.ports.get(port, self.catch_all)

    def inspects_tls(self, port: int) -> bool:
        """Whether the listener waits for the first bytes to tell TLS from plaintext."""
        return (port if port in self.ports else 0) in self.tls_inspected


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client sends first."""

    tls: bool = False
    istio_alpn: bool = False
    certificate: bool = False
    waits: bool = False  # silent, or it expects the server's greeting first


PLAINTEXT = Hello()
MESH_TLS = Hello(tls=True, istio_alpn=True, certificate=True)
APP_TLS = Hello(tls=True)


class Answer(StrEnum):
    """How the server's proxy deals with a connection."""

    MUTUAL_TLS = "mutual TLS, served"
    PLAIN = "served without mesh TLS"
    NO_CHAIN = "no filter chain matches: closed"
    NO_CERTIFICATE = "handshake refused: no client certificate"
    CLIENT_REFUSES = "handshake refused: the client does not accept the server's certificate"
    SERVER_REFUSES = "handshake refused: the server does not accept the client's certificate"
    TLS_TO_PLAINTEXT = "TLS bytes reach a plaintext reader"
    HANGS = "neither served nor refused"


class Drain(StrEnum):
    """What an accepted listener update does to open connections."""

    NOTHING = "nothing"
    PORTS = "in place"
    WHOLE = "whole listener"


@dataclass(frozen=True, slots=True)
class Update:
    """The difference of two listeners: how Envoy takes it, and the ports (0 = catch-all) whose chains drain."""

    drain: Drain
    ports: frozenset[int] = frozenset()
    chains: int = 0


def build_listener(modes: PodModes, declared: Mapping[int, Protocol]) -> Listener:
    """Build `virtualInbound` of a pod.

    Args:
        modes: effective modes of the workload and its ports.
        declared: container ports that a Service of the pod's namespace names, with their protocol.
    """
    ports = {port: _chains(modes.at(port), protocol) for port, protocol in declared.items()}
    for port in modes.ports:
        ports.setdefault(port, _chains(modes.at(port), Protocol.AUTO))
    catch_all = _chains(modes.workload, Protocol.AUTO)
    sniffed = {port for port in ports if declared.get(port, Protocol.AUTO) is Protocol.AUTO}
    every = {**ports, 0: catch_all}
    return Listener(
        ports=ports,
        catch_all=catch_all,
        tls_inspected=frozenset(p for p, chains in every.items() if any(c.tls for c in chains)),
        http_inspected=frozenset(
            p for p, chains in every.items() if (p == 0 or p in sniffed) and any(not c.tls for c in chains)
        ),
    )


def answer(listener: Listener, port: int, hello: Hello, *, http: bool) -> Answer:
    """Let a connection match the chains of a port; `http` says what the client speaks inside."""
    inspects = listener.inspects_tls(port)
    if hello.waits and not hello.tls:
        return Answer.HANGS if inspects else Answer.PLAIN
    chain = _match(listener.chains(port), hello, inspects=inspects)
    if chain is None:
        return Answer.NO_CHAIN
    if chain.action is Action.TERMINATE:
        return Answer.MUTUAL_TLS if hello.certificate else Answer.NO_CERTIFICATE
    if hello.tls and chain.action is Action.FORWARD and (hello.istio_alpn or (chain.http and http)):
        return Answer.TLS_TO_PLAINTEXT
    return Answer.PLAIN


def compare(old: Listener, new: Listener) -> Update:
    """How Envoy takes `new` in place of `old`: changed inspectors replace the whole listener, else chain by chain."""
    if old == new:
        return Update(Drain.NOTHING)
    if (old.tls_inspected, old.http_inspected) != (new.tls_inspected, new.http_inspected):
        return Update(Drain.WHOLE)
    changed = {p for p in old.ports.keys() | new.ports.keys() if old.chains(p) != new.chains(p)}
    if old.catch_all != new.catch_all:
        changed.add(0)
    gone = sum(len(set(_own(old, p)) - set(_own(new, p))) for p in changed)
    return Update(Drain.PORTS, frozenset(changed), gone)


def _own(listener: Listener, port: int) -> tuple[Chain, ...]:
    return listener.catch_all if port == 0 else listener.chains(port)


def _match(chains: tuple[Chain, ...], hello: Hello, *, inspects: bool) -> Chain | None:
    if hello.tls and inspects:
        exact = next((c for c in chains if c.tls and c.istio_alpn), None)
        if hello.istio_alpn and exact is not None:
            return exact
        return next((c for c in chains if c.tls and not c.istio_alpn), None)
    return next((c for c in chains if not c.tls), None)


def _chains(mode: Mode, protocol: Protocol) -> tuple[Chain, ...]:
    http = protocol is not Protocol.TCP
    raw = Chain(tls=False, istio_alpn=False, action=Action.FORWARD, http=http)
    if mode is Mode.DISABLE:
        return (raw,)
    if mode is Mode.STRICT:
        return (Chain(tls=True, istio_alpn=False, action=Action.TERMINATE, http=http),)
    mesh = Chain(tls=True, istio_alpn=True, action=Action.TERMINATE, http=http)
    if protocol is Protocol.HTTP:
        return (mesh, raw)
    return (mesh, Chain(tls=True, istio_alpn=False, action=Action.PASS_THROUGH, http=False), raw)
