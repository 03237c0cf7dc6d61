"""Which adapters a command gets: a cluster of the kubeconfig, or the embedded lab through the same sockets."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rollout import __version__
from rollout.adapters.clock import LabClock, SystemClock, lab_kubeconfig
from rollout.adapters.istioctl import Istioctl
from rollout.adapters.journal import ConfigMapJournal
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.adapters.lease import KubernetesLease
from rollout.adapters.levels import LevelsOnDisk
from rollout.adapters.mirror import state_folder
from rollout.adapters.probes import ProbesHere
from rollout.adapters.prometheus_source import connect_metrics
from rollout.adapters.proxies import PilotAgents
from rollout.adapters.signals import Interrupted, Stopper
from rollout.cli.again import again
from rollout.cli.finding import found_or_asked, hint
from rollout.cli.metrics import NamedMetrics
from rollout.cli.output import complain
from rollout.cli.proxies import istioctl_argv, pilot_agents, undo_left
from rollout.cli.screen import Screen
from rollout.errors import ClusterError, NotFound, UsageError
from rollout.mesh.mesh_config import mesh_config
from rollout.model.istio import MeshConfig, PeerAuthentication
from rollout.model.kubernetes import ConfigMap, Deployment
from rollout.ports import Clock, Identity
from rollout.record.spec import Origin

T = TypeVar("T")

#: One that happens to be on PATH would look for an istiod, and a lab has none.
_OTHERS = "a lab is asked only by an istioctl that --istioctl names"
#: Commands that name namespaces and rest on metrics.
_JUDGING = ("plan", "migrate", "evidence")


class Ports(msgspec.Struct):
    """Everything of one command that reaches outside."""

    cluster: KubernetesCluster
    metrics: NamedMetrics
    analyzer: Istioctl
    journal: ConfigMapJournal
    lease: KubernetesLease
    clock: Clock
    stopper: Stopper
    identity: Identity
    mesh: MeshConfig
    istio: str
    proxies: PilotAgents
    levels: LevelsOnDisk
    probes: ProbesHere
    lab: Any = None
    closing: ExitStack | None = None

    def screen(self, args: Any, *, quiet: bool = False) -> Screen:
        """The screen of a command; what moves on it ends with the ports."""
        made = Screen(quiet=quiet, json=args.output == "json", again=again(args))
        made.looking.limit = self.metrics.limit()
        if self.closing is not None:
            self.closing.callback(made.close)
        return made

    def served(self) -> str:
        """The version in which the API server has PeerAuthentication, '' where it cannot be told."""
        try:
            return self.cluster.served(PeerAuthentication.RESOURCE)
        except ClusterError:
            return ""

    def guard(self, work: Callable[[], T]) -> T | None:
        """Do something that a stop may break off; None when it did."""
        try:
            with self.stopper.interruptible():
                return work()
        except Interrupted:
            return None

    def stopped(self) -> str:
        """The signal that asked for a stop, '' for none; asking is taking notice."""
        self.stopper.acknowledge()
        return self.stopper.asked.name if self.stopper.asked else ""

    def insisted(self) -> bool:
        """A human pressed twice."""
        return self.stopper.presses > 1

    @property
    def user(self) -> str:
        """Who types, on this machine."""
        return me()

    @property
    def origin(self) -> Origin:
        """For the record: no secrets."""
        return Origin(
            context=self.identity.context,
            server=self.identity.server,
            kubernetes=self.identity.kubernetes,
            istio=self.istio,
            user=self.identity.user,
            prometheus=self.metrics.address(),
            history=self.metrics.history(),
            tool=__version__,
        )


class Running:
    """A lab of another process, by its address."""

    def __init__(self, url: str) -> None:
        """Nothing is sent."""
        self.api_url = url.rstrip("/")
        self.prometheus_url = f"{self.api_url}/prometheus"

    @property
    def kubeconfig(self) -> str:
        """Of the cluster that it drives; it is asked."""
        return lab_kubeconfig(self.api_url)


@contextmanager
def ports(args: Any) -> Iterator[Ports]:
    """Connect; a lab is started and stopped with it.

    Raises:
        UsageError: what the command line lacks is said before anything is asked of a cluster.
    """
    if args.command in _JUDGING and not (args.namespaces or args.selector or args.all_namespaces):
        raise UsageError("no namespace is named", limit="NAMESPACE …, -l SELECTOR or --all-namespaces",
                         next=f"rollout {args.command} NAMESPACE")  # fmt: skip
    if args.istioctl != "istioctl" and shutil.which(args.istioctl) is None and not Path(args.istioctl).exists():
        raise UsageError(f"there is no {args.istioctl}", limit="istioctl's binary", where="--istioctl")
    with ExitStack() as stack:
        running = args.lab or ""
        lab = Running(running) if running.startswith("http://") else None
        if lab is None and running:
            lab = stack.enter_context(_lab(running))
        yield connected(args, lab, stack)


@contextmanager
def _lab(scenario: str) -> Iterator[Any]:
    from rollout.lab.lab import Lab

    with Lab.start(scenario) as lab:
        try:
            yield lab
        finally:
            for line in lab.outside.failed:
                complain(f"lab: an event of {lab.scenario.name} failed: {line}\n")


def connected(args: Any, lab: Any, stack: ExitStack) -> Ports:
    """Ports on a cluster, or (`lab`) on a lab that runs; closed with the stack."""
    stopper = Stopper(terminal=sys.stdin is not None and sys.stdin.isatty())
    clock: SystemClock | LabClock
    kubeconfig, context, prometheus, folder = args.kubeconfig, args.context, args.prometheus, ""
    if lab is not None:
        folder, kubeconfig = _lab_files(lab, stack)
        context, prometheus = None, lab.prometheus_url
        clock = LabClock(lab.api_url)
        clock.attach()
    else:
        clock = SystemClock(lambda: stopper.stopping)
    stack.callback(clock.close)
    cluster = connect(kubeconfig, context, sleep=clock.sleep, impersonate=args.impersonate)
    identity = cluster.identity()
    planes = _istiods(cluster)
    istio, mesh = mesh_of(cluster, planes)
    metrics = _metrics(args, prometheus, cluster, clock.sleep)
    stack.callback(metrics.close)
    stack.callback(cluster.close)
    proxies = pilot_agents(cluster, () if lab else istioctl_argv(args.istioctl, kubeconfig, context))
    passing = lab is not None and not isinstance(lab, Running)  # it ends with us: nobody could put anything back
    here = Path(folder) if passing else state_folder().parent
    undo_left(levels := LevelsOnDisk(here, identity.server), proxies)
    return Ports(
        cluster=cluster,
        metrics=metrics,
        analyzer=Istioctl(
            args.istioctl,
            kubeconfig=kubeconfig or "",
            context=context or "",
            istiods=tuple(sorted({istiod.namespace for istiod in planes})),
            without=_OTHERS if lab and args.istioctl == "istioctl" else "",
        ),
        journal=ConfigMapJournal(cluster, state_folder(), clock.sleep),
        lease=KubernetesLease(cluster, clock.now, f"{me()}@{socket.gethostname()}", args.state_namespace),
        clock=clock,
        stopper=stopper,
        identity=identity,
        mesh=mesh,
        istio=istio,
        proxies=proxies,
        levels=levels,
        probes=ProbesHere(here),
        lab=lab,
        closing=stack,
    )


def _lab_files(lab: Any, stack: ExitStack) -> tuple[str, str]:
    """A folder for as long as the ports live, and the lab's kubeconfig in it."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rollout-lab-"))
    path = Path(folder) / "kubeconfig"
    path.write_text(lab.kubeconfig, encoding="utf-8")
    return folder, str(path)


def _metrics(args: Any, prometheus: str, cluster: KubernetesCluster, sleep: Callable[[float], None]) -> NamedMetrics:
    if not prometheus and args.command in _JUDGING:
        prometheus = found_or_asked(args, cluster)
    headers = dict(_pair(text, "--prometheus-header") for text in args.prometheus_header)
    return NamedMetrics(
        lambda address, history: connect_metrics(
            address,
            history=history,
            sleep=sleep,
            raw_reply=cluster.raw_reply,
            bearer_token=(lambda: _secret(args.prometheus_token)) if args.prometheus_token else "",
            ca_file=args.prometheus_ca or "",
            headers=headers,
        ),
        prometheus,
        args.prometheus_history,
        lambda: hint(cluster),
    )


def me() -> str:
    """Who types; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def _secret(path: str | None) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"the token cannot be read: {error.strerror}", where=path) from error


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"{text!r} has no '='", limit="NAME=VALUE", where=flag)
    return name, value


def _istiods(cluster: KubernetesCluster) -> tuple[Deployment, ...]:
    """None where they cannot be seen."""
    try:
        return cluster.list(Deployment, selector="app=istiod")
    except ClusterError:
        return ()


def mesh_of(cluster: KubernetesCluster, istiods: tuple[Deployment, ...]) -> tuple[str, MeshConfig]:
    """Istio's version from istiod's image, and its MeshConfig; ('', defaults) where no istiod can be seen."""
    if not istiods:
        return "", MeshConfig()
    istiod = min(istiods, key=lambda d: d.metadata.labels.get("istio.io/rev", "default") != "default")
    image = istiod.spec.template.spec.containers[0].image if istiod.spec.template.spec.containers else ""
    revision = istiod.metadata.labels.get("istio.io/rev", "default")
    suffix = "" if revision in ("", "default") else f"-{revision}"
    maps = []
    for name in (f"istio{suffix}", f"istio-sidecar-injector{suffix}"):
        with suppress(NotFound):
            maps.append(cluster.get(ConfigMap, istiod.namespace, name))
    if not any(found.name.startswith("istio") and "mesh" in found.data for found in maps):
        return image.rpartition(":")[2], MeshConfig(namespace=istiod.namespace, root_namespace=istiod.namespace)
    return image.rpartition(":")[2], mesh_config(maps, revision or "default")
