"""What is asked: a namespace, a pod, or a pair of a client and what it calls."""

from __future__ import annotations

import ipaddress

import msgspec

from rollout.errors import UsageError

_PAIR = "--from POD.NAMESPACE --to SERVICE.NAMESPACE:PORT"


class Name(msgspec.Struct, frozen=True):
    """`NAME.NAMESPACE`; a pod's name may hold dots, a namespace's cannot."""

    name: str
    namespace: str

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.name}.{self.namespace}"


class OfNamespace(msgspec.Struct, frozen=True):
    """All pods of a namespace, as servers."""

    namespace: str

    def __str__(self) -> str:
        """For the first line."""
        return f"namespace {self.namespace}"


class OfPod(msgspec.Struct, frozen=True):
    """One pod, as a server."""

    pod: Name

    def __str__(self) -> str:
        """For the first line."""
        return f"pod {self.pod}"


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A call: `port` is a number or a name of the Service's ('' where it has only one); without `method` and `path` a
    decision that depends on them stays open.
    """

    client: Name
    server: Name
    port: str = ""
    method: str | None = None
    path: str | None = None

    def __str__(self) -> str:
        """For the first line."""
        return f"{self.client} to {self.server}{':' if self.port else ''}{self.port}"


Question = OfNamespace | OfPod | Pair


def question(
    target: str = "", source: str = "", to: str = "", *, method: str | None = None, path: str | None = None
) -> Question:
    """What the command line asks.

    Args:
        target: `NAMESPACE` or `POD.NAMESPACE`.
        source: `POD.NAMESPACE`, goes with `to`.
        to: `SERVICE.NAMESPACE:PORT`, or `POD.NAMESPACE:PORT` for a call to the pod's own address.
        method: of the HTTP request.
        path: of the HTTP request.

    Raises:
        UsageError: nothing, too much, or something that is no name.
    """
    if source or to:
        if target or not (source and to):
            raise UsageError(
                "a pair needs its two ends, and nothing else", limit=_PAIR, next=f"rollout diagnose {_PAIR}"
            )
        server, _, port = to.partition(":")
        return Pair(
            client=_name(source, "--from", "POD.NAMESPACE"),
            server=_name(_short(server), "--to", "SERVICE.NAMESPACE:PORT"),
            port=port,
            method=method,
            path=path,
        )
    if method or path:
        raise UsageError("a method or a path belongs to a call", limit=_PAIR, where="--method, --path")
    if not target:
        raise UsageError(
            "nothing is named", limit=f"NAMESPACE, POD.NAMESPACE, or {_PAIR}", next="rollout diagnose NAMESPACE"
        )
    return OfPod(_name(target, "the argument", "POD.NAMESPACE")) if "." in target else OfNamespace(target)


def _short(host: str) -> str:
    """A Service's full name without its domain; an address names no object."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        short = f"{host}.".partition(".svc.")[0].removesuffix(".")
        return short if "." in short else host
    raise UsageError(
        f"{host} is an address",
        limit="a name",
        where="--to",
        next=f"kubectl get pods -A -o wide --field-selector status.podIP={host}, then --to POD.NAMESPACE:PORT",
    )


def _name(text: str, where: str, limit: str) -> Name:
    name, dot, namespace = text.rpartition(".")
    if not (dot and name and namespace):
        raise UsageError(f"{text!r} is no {limit}", limit=limit, where=where)
    return Name(name, namespace)
