"""Whether a proxy has what istiod sent it, from what istiod knows of it (istio.md 8.2)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from rollout.mesh.injection import proxy_container
from rollout.model.kubernetes import Pod, Ref
from rollout.model.synchronization import ProxyState, ProxySync, Sync, Synced

#: Listeners carry what a PeerAuthentication asks for, clusters what a client sends.
_NEEDED = ("LDS", "CDS")
_WHAT = {
    "LDS": "listeners",
    "CDS": "clusters",
    "EDS": "endpoints",
    "RDS": "routes",
    "ECDS": "extensions",
    "SDS": "secrets",
}
#: What was sent shorter ago may still be on its way, and a pod that young may not be connected yet.
GRACE = timedelta(minutes=1)
#: Words of `ProxyState.state`.
SYNCED, STALE, NOT_SENT, REJECTED, AWAY, UNKNOWN = (
    "synced",
    "stale",
    "not sent",
    "rejected",
    "not connected",
    "unknown",
)


class Judged(msgspec.Struct, frozen=True):
    """A pod's state, and whether it is certain that the proxy lacks something (and not only for the moment)."""

    state: ProxyState
    wrong: bool = False


class Connections:
    """What is connected, by pod."""

    def __init__(self, synced: Synced) -> None:
        """Sort it."""
        self._at = synced.at
        self._by_pod: dict[Ref, list[ProxySync]] = {}
        for proxy in synced.proxies:
            self._by_pod.setdefault(proxy.pod, []).append(proxy)

    def judged(self, pod: Pod) -> Judged:
        """Of a live pod with a sidecar."""
        found = self._by_pod.get(pod.ref, [])
        clusters = {proxy.cluster for proxy in found}
        if len(clusters) > 1:
            own = _cluster(pod)
            found = [proxy for proxy in found if proxy.cluster == own]
            if not found:
                same = (
                    f"{len(clusters)} clusters of the mesh have a pod of this name, and which is this one is not told"
                )
                return Judged(ProxyState(pod=pod.ref, state=UNKNOWN, sentence=same))
        if not found:
            return self._away(pod)
        return max((self._of(proxy) for proxy in found), key=lambda judged: judged.state.state == SYNCED)

    def _away(self, pod: Pod) -> Judged:
        born = pod.metadata.creation_timestamp
        young = born is not None and self._at - born < GRACE
        sentence = "no istiod that istioctl reaches has a connection of it"
        sentence += ", it is younger than a minute" if young else ""
        return Judged(ProxyState(pod=pod.ref, state=AWAY, sentence=sentence), wrong=not young)

    def _of(self, proxy: ProxySync) -> Judged:
        state, sentence, wrong = self._words(proxy)
        return Judged(
            ProxyState(
                pod=proxy.pod,
                state=state,
                sentence=sentence,
                types=proxy.types,
                istiod=proxy.istiod,
                version=proxy.version,
            ),
            wrong,
        )

    def _words(self, proxy: ProxySync) -> tuple[str, str, bool]:
        by = f" by {proxy.istiod}" if proxy.istiod else ""
        if rejected := _named(proxy, Sync.ERROR):
            return REJECTED, f"it rejected {rejected}{f' ({proxy.error})' if proxy.error else ''}", True
        if stale := _named(proxy, Sync.STALE):
            times = [
                proxy.sent[name] for name, word in proxy.types.items() if word is Sync.STALE and name in proxy.sent
            ]
            if not times:
                return STALE, f"it did not acknowledge {stale} yet, since when is not told", False
            age = self._at - min(times)
            since = f"{min(times):%H:%M:%S} UTC"
            return STALE, f"it did not acknowledge {stale}, sent{by} at {since}", age >= GRACE
        missing = [name for name in _NEEDED if proxy.types.get(name) in (Sync.NOT_SENT, Sync.IGNORED)]
        if missing:
            return NOT_SENT, f"it was never sent {_list(missing)}", False
        if any(name not in proxy.types for name in _NEEDED):
            return UNKNOWN, "istioctl's word for its listeners or clusters is not known here", False
        return SYNCED, f"it acknowledged everything sent{by}", False


def _named(proxy: ProxySync, word: Sync) -> str:
    return _list([name for name, found in proxy.types.items() if found is word])


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"{_WHAT.get(name, name)} ({name})" for name in names)


def _cluster(pod: Pod) -> str:
    """As the injector tells the proxy."""
    container = proxy_container(pod)
    return next((e.value for e in container.env if e.name == "ISTIO_META_CLUSTER_ID"), "") if container else ""
