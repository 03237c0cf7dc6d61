"""`--probe`: a test call of the pair, announced, agreed to, and its pod deleted in every case."""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rollout import __version__
from rollout.checks.words import many
from rollout.cli.assignment import terminal
from rollout.cli.output import complain
from rollout.cli.proxies import say, unless_stopped
from rollout.diagnosis import policy
from rollout.diagnosis.calling import TAKEN, Call, Ended, call
from rollout.diagnosis.counted import mutual_calls
from rollout.diagnosis.diagnose import proxies
from rollout.diagnosis.probe_pod import CONTAINER, IMAGE, LIFE, RUN_ID, SELECTOR, body, cannot, left_over, name, unlike
from rollout.diagnosis.probing import (
    CALLS,
    Probed,
    calls,
    container_of,
    existing,
    not_the_proxy,
    permitted,
    ready,
    remove,
)
from rollout.diagnosis.question import Pair, Question
from rollout.diagnosis.reading import Found
from rollout.errors import ClusterError, RolloutError, UsageError
from rollout.model.kubernetes import Pod

if TYPE_CHECKING:
    from rollout.cli.wiring import Ports

POD, EXEC = "pod", "exec"


class Wanted(msgspec.Struct, frozen=True):
    """What the command line says of a probe: `how` is `POD` or `EXEC`."""

    how: str
    image: str = IMAGE
    container: str = ""
    yes: bool = False


def wanted(args: Any, asked: Question) -> Wanted | None:
    """The probe that is asked for, None for none.

    Raises:
        UsageError: there is no pair to try, the container is the proxy's, or nobody is there to be asked.
    """
    if not args.probe:
        if args.probe_container:
            raise UsageError("a container is for a probe in it", where="--probe-container", next="--probe=exec")
        return None
    if not isinstance(asked, Pair):
        raise UsageError(
            "a test call needs its two ends", where="--probe", limit="--from POD.NAMESPACE --to SERVICE.NAMESPACE:PORT"
        )
    if args.probe_container:
        not_the_proxy(args.probe_container)
        if args.probe != EXEC:
            raise UsageError("a container is for a probe in it", where="--probe-container", next="--probe=exec")
    if not (args.yes or terminal()):
        raise UsageError("nobody is there to be asked", where="standard input is no terminal", next="--yes")
    return Wanted(args.probe, args.probe_image or IMAGE, args.probe_container, args.yes)


def sweep(p: Ports, namespaces: Iterable[str]) -> None:
    """Delete the pods of probes that were killed; what may not be looked at or deleted keeps nobody from his work."""
    gone = 0
    for namespace in dict.fromkeys(namespaces):
        try:
            found = p.cluster.list(Pod, namespace=namespace, selector=SELECTOR)
        except ClusterError:
            continue
        for pod in found:
            run = pod.labels.get(RUN_ID, "")
            if left_over(pod, p.clock.now(), alive=p.probes.alive(run)) and remove(
                p.cluster, pod.ref, pod.metadata.uid, p.clock, say
            ):
                p.probes.forget(run)
                gone += 1
    if gone:
        say(f"{many(gone, 'pod')} of a probe that was killed: deleted")


def planned(asked: Pair, found: Found, p: Ports, how: Wanted) -> Callable[[], Probed]:
    """Say what is going to be done, and ask; what does it is returned.

    Raises:
        UsageError: the call cannot be meant, or a person says no.
    """
    assert found.client is not None, "a pair has a client"
    client, server = found.client, found.servers[0] if found.servers else None
    ask = call(asked, found.service, server, policy.dialled(asked, found.service))
    if how.how == EXEC:
        return _by_exec(client, ask, p, how)
    why = cannot(client)
    if why:
        return lambda: Probed(place="no pod", why=why)
    return _by_pod(asked, client, proxies(found.servers), ask, p, how)


def _by_exec(client: Pod, ask: Call, p: Ports, how: Wanted) -> Callable[[], Probed]:
    container = container_of(client, how.container)
    place = f"container {container} of {client.ref}"
    _agreed(f"a test call: curl in {place} asks {ask.method} {ask.url}, up to {CALLS} times", how)
    return lambda: _tried(place, ask, p, lambda: calls(p.cluster, client.ref, container, ask))


def _by_pod(asked: Pair, client: Pod, servers: Sequence[Pod], ask: Call, p: Ports, how: Wanted) -> Callable[[], Probed]:
    run, by = secrets.token_hex(4), f"rollout {__version__}, {p.user}@{socket.gethostname()}"
    document = body(client, asked, run, how.image, by)
    account = document["spec"]["serviceAccountName"]
    place = f"pod {name(run)} in {client.namespace} ({how.image}, service account {account})"
    _agreed(
        f"a test call: {place} is made, curl in it asks {ask.method} {ask.url}, up to {CALLS} times; it is deleted "
        f"afterwards in every case, and ends by itself within {LIFE} s",
        how,
    )
    place += "; it has none of the caller's other labels, so policies and rules that select by them pass it by"
    return lambda: _in_a_pod(client, servers, document, run, place, ask, p)


def _counted(servers: Sequence[Pod], caller: str, tried: Probed, p: Ports) -> int:
    """Of calls that were answered; what cannot be read proves nothing."""
    found = 0
    for pod in servers if any(end.ending in TAKEN for end in tried.ends) else ():
        with suppress(RolloutError):
            found += unless_stopped(p, lambda pod=pod: mutual_calls(p.proxies.metrics(pod.ref), caller)) or 0  # type: ignore[misc]
    return found


def _in_a_pod(
    client: Pod, servers: Sequence[Pod], document: dict[str, Any], run: str, place: str, ask: Call, p: Ports
) -> Probed:
    tried = Probed(place=place, call=ask)
    try:
        permitted(p.cluster, client.namespace)
        with p.probes.running(run), existing(p.cluster, document, p.clock, say) as made:
            try:
                tried = _tried(place, ask, p, lambda: _from(made, ask, p))
                tried = replace(tried, mutual=_counted(servers, name(run), tried, p))
            finally:
                p.stopper.acknowledge()  # the pod is to be deleted undisturbed
    except RolloutError as error:
        return Probed(place=place, call=ask, why=error.problem)
    return replace(tried, unlike=unlike(client, made))


def _tried(place: str, ask: Call, p: Ports, work: Callable[[], tuple[Ended, ...]]) -> Probed:
    try:
        ends = unless_stopped(p, work)
    except RolloutError as error:
        return Probed(place=place, call=ask, why=error.problem)
    why = "" if ends is not None else f"broken off by {p.stopper.asked.name if p.stopper.asked else 'a stop'}"
    return Probed(place=place, call=ask, ends=ends or (), why=why)


def _from(made: Pod, ask: Call, p: Ports) -> tuple[Ended, ...]:
    ready(p.cluster, made.ref, p.clock)
    return calls(p.cluster, made.ref, CONTAINER, ask)


def _agreed(what: str, how: Wanted) -> None:
    """Say what is going to be done, and ask at a terminal.

    Raises:
        UsageError: the answer is no.
    """
    say(what)
    if how.yes:
        return
    complain("Type 'yes' to go on: ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not confirmed; nothing was made and nothing was called", next="without --probe")
