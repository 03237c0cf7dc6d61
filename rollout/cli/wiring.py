"""Which adapters a command gets: a cluster of the kubeconfig, or the embedded lab through the same sockets."""

from __future__ import annotations

import getpass
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rollout import __version__
from rollout.adapters.clock import LabClock, SystemClock
from rollout.adapters.istioctl import Istioctl
from rollout.adapters.journal import ConfigMapJournal
from rollout.adapters.kubernetes import KubernetesCluster, connect
from rollout.adapters.lease import LeaseLock
from rollout.adapters.prometheus import connect_prometheus
from rollout.adapters.signals import Stopper
from rollout.cli import state_home
from rollout.errors import ClusterError, NotFound, UsageError
from rollout.mesh.mesh_config import parse
from rollout.model.istio import MeshConfig
from rollout.model.kubernetes import ConfigMap, Deployment
from rollout.ports import Clock, Identity, Metrics
from rollout.record.spec import Origin


class Ports(msgspec.Struct):
    """Everything of one command that reaches outside."""

    cluster: KubernetesCluster
    metrics: Metrics
    analyzer: Istioctl
    journal: ConfigMapJournal
    lease: LeaseLock
    clock: Clock
    stopper: Stopper
    identity: Identity
    mesh: MeshConfig
    istio: str
    lab: Any = None

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
            tool=__version__,
        )


@contextmanager
def ports(args: Any) -> Iterator[Ports]:
    """Connect; a lab is started and stopped with it."""
    with ExitStack() as stack:
        lab = stack.enter_context(_lab(args.lab)) if args.lab else None
        yield _connected(args, lab, stack)


@contextmanager
def _lab(scenario: str) -> Iterator[Any]:
    from rollout.lab.lab import Lab

    with Lab.start(scenario) as lab:
        yield lab


def with_lab(args: Any, lab: Any, stack: ExitStack) -> Ports:
    """Ports on a lab that runs already."""
    return _connected(args, lab, stack)


def _connected(args: Any, lab: Any, stack: ExitStack) -> Ports:
    stopper = Stopper()
    clock: Clock
    kubeconfig, context, prometheus = args.kubeconfig, args.context, args.prometheus
    if lab is not None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rollout-lab-"))
        path = Path(folder) / "kubeconfig"
        path.write_text(lab.kubeconfig, encoding="utf-8")
        kubeconfig, context, prometheus = str(path), None, lab.prometheus_url
        clock = stack.enter_context(LabClock(lab.clock_url, stopper))
    else:
        clock = SystemClock(stopper)

    def sleep(seconds: float) -> None:
        from datetime import timedelta

        clock.sleep_until(clock.now() + timedelta(seconds=seconds))

    cluster = connect(kubeconfig, context, sleep=sleep, impersonate=args.impersonate)
    identity = cluster.identity()
    istio, mesh = mesh_of(cluster)
    if not prometheus:
        raise UsageError(
            "no Prometheus is named", where="--prometheus",
            next="--prometheus http://HOST:9090, or --prometheus SERVICE.NAMESPACE:PORT through the API server",
        )  # fmt: skip
    metrics = connect_prometheus(
        prometheus,
        cluster=cluster,
        sleep=sleep,
        token=Path(args.prometheus_token).read_text(encoding="utf-8").strip() if args.prometheus_token else "",
        ca_file=args.prometheus_ca or "",
        headers=dict(_pair(text, "--prometheus-header") for text in args.prometheus_header),
    )
    holder = f"{getpass.getuser()}@{socket.gethostname()}"
    return Ports(
        cluster=cluster,
        metrics=metrics,
        analyzer=Istioctl(shutil.which(args.istioctl) or "", kubeconfig=kubeconfig or "", context=context or ""),
        journal=ConfigMapJournal(cluster, state_home() / "runs", now=clock.now),
        lease=LeaseLock(cluster, holder=holder, now=clock.now, state_namespace=args.state_namespace),
        clock=clock,
        stopper=stopper,
        identity=identity,
        mesh=mesh,
        istio=istio,
        lab=lab,
    )


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"{text!r} has no '='", limit="NAME=VALUE", where=flag)
    return name, value


def mesh_of(cluster: KubernetesCluster) -> tuple[str, MeshConfig]:
    """Istio's version from istiod's image, and its MeshConfig; ('', defaults) where no istiod can be seen."""
    try:
        istiods = cluster.list(Deployment, selector="app=istiod")
    except ClusterError:
        return "", MeshConfig()
    if not istiods:
        return "", MeshConfig()
    istiod = min(istiods, key=lambda d: d.metadata.labels.get("istio.io/rev", "default") != "default")
    image = istiod.spec.template.spec.containers[0].image if istiod.spec.template.spec.containers else ""
    revision = istiod.metadata.labels.get("istio.io/rev", "default")
    name = "istio" if revision in ("", "default") else f"istio-{revision}"
    try:
        mesh = parse(cluster.get(ConfigMap, istiod.namespace, name))
    except NotFound:
        mesh = MeshConfig(namespace=istiod.namespace, root_namespace=istiod.namespace)
    return image.rpartition(":")[2], mesh
