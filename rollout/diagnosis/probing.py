"""Make the test calls: in a pod that exists for as long as this takes, or in a container of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec

from rollout.diagnosis.calling import WAITS, Call, Ended, Ending, ended
from rollout.diagnosis.probe_pod import LIFE, READY, stuck
from rollout.errors import ClusterError, Conflict, NotFound, Outcome, RolloutError, Unreachable, UsageError
from rollout.mesh.injection import PROXY
from rollout.model.kubernetes import Pod, Ref, Resource
from rollout.ports import Clock, Cluster, Containers, Right

#: Each on a connection of its own: a Service's pods may differ.
CALLS = 3
#: Seconds that a call may take with everything around it.
LIMIT = WAITS + 10.0
_TRIES = 3
_EXEC = Resource("", ("v1",), "pods/exec", "Pod")
_DEFAULT = "kubectl.kubernetes.io/default-container"

Say = Callable[[str], None]


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a probe.

    Args:
        place: where curl ran, for people.
        call: what it asked.
        ends: how each call ended; none where nothing could be asked.
        why: why nothing, or less, was asked.
        unlike: how the place differs from the caller.
        mutual: how many calls the servers' own proxies counted as mutual TLS; 0 where that is not known.
    """

    place: str
    call: Call | None = None
    ends: tuple[Ended, ...] = ()
    why: str = ""
    unlike: str = ""
    mutual: int = 0


def rights(namespace: str) -> tuple[Right, ...]:
    """What a probe by a pod needs there; to take it away comes first."""
    pods = Pod.RESOURCE
    return (
        *(Right(verb, pods, namespace) for verb in ("delete", "get", "create")),
        Right("get", _EXEC, namespace),
        Right("create", _EXEC, namespace),
    )


def permitted(cluster: Cluster, namespace: str) -> None:
    """Nothing is made that could not be taken away.

    Raises:
        RolloutError: a right is missing.
        ClusterError: that could not be asked.
    """
    for right in rights(namespace):
        if not cluster.allowed(right):
            raise RolloutError(
                f"not permitted: {right}; no pod was made (rollout rbac --for probe --namespace {namespace})",
                outcome=Outcome.CANNOT_SEE,
            )


@contextmanager
def existing(cluster: Cluster, body: dict[str, Any], clock: Clock, say: Say) -> Iterator[Pod]:
    """Inside, the pod exists; afterwards it does not, whatever happened.

    Raises:
        ClusterError: it was refused.
    """
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    try:
        made = cluster.create(Pod, namespace, body)
    except Unreachable:  # it may be there all the same
        remove(cluster, Ref("Pod", namespace, name), "", clock, say)
        raise
    try:
        yield made
    finally:
        remove(cluster, made.ref, made.metadata.uid, clock, say)


def remove(cluster: Cluster, pod: Ref, uid: str, clock: Clock, say: Say) -> bool:
    """Delete a probe's pod; what fails is said, with the command that does it by hand."""
    problem = ""
    for attempt in range(_TRIES):
        if attempt:
            clock.sleep_until(clock.now() + timedelta(seconds=1))
        try:
            cluster.delete(Pod, pod.namespace, pod.name, uid=uid)
        except (NotFound, Conflict):
            return True
        except ClusterError as error:
            problem = error.problem
        else:
            return True
    say(f"{pod} is not deleted: {problem}; it ends by itself within {LIFE} s, the next diagnosis of {pod.namespace} "
        f"tries again, or: kubectl delete pod {pod.name} -n {pod.namespace}")  # fmt: skip
    return False


def ready(cluster: Cluster, pod: Ref, clock: Clock) -> Pod:
    """Wait until the pod is Ready: its sidecar has its configuration then.

    Raises:
        RolloutError: it ended, or was not Ready in time; with the kubelet's words.
        ClusterError: it could not be read.
    """
    until = clock.now() + timedelta(seconds=READY)
    while True:
        found = cluster.get(Pod, pod.namespace, pod.name)
        if found.ready:
            return found
        over = found.status.phase in ("Failed", "Succeeded")
        if over or clock.now() >= until:
            said = stuck(found)
            state = f"ended as {found.status.phase}" if over else f"was not Ready within {READY} s"
            raise RolloutError(f"the probe's pod {state}{f': {said}' if said else ''}", outcome=Outcome.CANNOT_SEE)
        clock.sleep_until(clock.now() + timedelta(seconds=1))


def calls(containers: Containers, pod: Ref, container: str, asked: Call) -> tuple[Ended, ...]:
    """Make the calls, one after the other; where nobody answers in time, one says enough.

    Raises:
        RolloutError: the command could not be run.
    """
    found: list[Ended] = []
    for _ in range(CALLS):
        ran = containers.execute(pod, container, asked.argv(), limit=LIMIT)
        found.append(ended(asked, ran.code, ran.out, ran.err))
        if found[-1].ending in (Ending.TIMEOUT, Ending.SILENT):
            break
    return tuple(found)


def container_of(client: Pod, asked: str) -> str:
    """The container of the caller's from which curl is to call.

    Raises:
        UsageError: there is none of that name, or it is the proxy's own.
    """
    own = [container.name for container in client.spec.containers if container.name != PROXY]
    if asked:
        not_the_proxy(asked)
        if asked not in own:
            raise UsageError(
                f"{client.ref} has no container {asked}", limit=f"one of {', '.join(own)}", where="--probe-container"
            )
        return asked
    if not own:
        raise UsageError(f"{client.ref} has no container but {PROXY}", where="--probe", next="--probe, without =exec")
    default = client.annotations.get(_DEFAULT, "")
    return default if default in own else own[0]


def not_the_proxy(container: str) -> None:
    """Refuse the one container whose calls say nothing.

    Raises:
        UsageError: it is the proxy's.
    """
    if container == PROXY:
        raise UsageError(
            f"calls from inside {PROXY} go past the proxy (its user 1337 is left out of the capture) and are "
            "plaintext: under STRICT they fail where every application's work",
            where="--probe-container",
            next="name the application's container, or leave the flag out",
        )
