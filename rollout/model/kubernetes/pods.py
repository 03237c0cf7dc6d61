"""Pods, their containers and probes."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rollout.model.kubernetes.meta import BareMetadata, Condition, Object, Resource, Value


class HTTPGetAction(Value, frozen=True):
    """httpGet of a probe or lifecycle hook; `port` is a number or a container port's name."""

    port: int | str = 0
    path: str = ""
    scheme: str = "HTTP"


class TCPSocketAction(Value, frozen=True):
    """tcpSocket."""

    port: int | str = 0


class GRPCAction(Value, frozen=True):
    """grpc."""

    port: int = 0
    service: str | None = None


class ExecAction(Value, frozen=True):
    """exec."""

    command: tuple[str, ...] = ()


class Handler(Value, frozen=True):
    """A probe, or one side of a lifecycle."""

    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    exec: ExecAction | None = None
    period_seconds: int = 10
    failure_threshold: int = 3


class Lifecycle(Value, frozen=True):
    """containers[].lifecycle."""

    post_start: Handler | None = None
    pre_stop: Handler | None = None


class ContainerPort(Value, frozen=True):
    """containers[].ports[]."""

    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"


class KeyRef(Value, frozen=True):
    """configMapKeyRef, configMapRef, secretKeyRef."""

    name: str = ""
    key: str = ""


class EnvVarSource(Value, frozen=True):
    """env[].valueFrom."""

    config_map_key_ref: KeyRef | None = None


class EnvVar(Value, frozen=True):
    """containers[].env[]."""

    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvFromSource(Value, frozen=True):
    """containers[].envFrom[]."""

    config_map_ref: KeyRef | None = None


class Container(Value, frozen=True):
    """spec.containers[] and spec.initContainers[]."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    restart_policy: str = ""
    readiness_probe: Handler | None = None
    liveness_probe: Handler | None = None
    startup_probe: Handler | None = None
    lifecycle: Lifecycle | None = None


class PodSpec(Value, frozen=True):
    """spec of a pod and of a pod template."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    service_account_name: str = ""
    node_name: str = ""
    host_network: bool = False
    restart_policy: str = ""


class Terminated(Value, frozen=True):
    """state.terminated."""

    finished_at: datetime | None = None


class Waiting(Value, frozen=True):
    """state.waiting."""

    reason: str = ""
    message: str = ""


class ContainerState(Value, frozen=True):
    """containerStatuses[].state."""

    terminated: Terminated | None = None
    waiting: Waiting | None = None


class ContainerStatus(Value, frozen=True):
    """status.containerStatuses[]."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()


class PodIP(Value, frozen=True):
    """status.podIPs[]."""

    ip: str = ""


class PodStatus(Value, frozen=True):
    """status of a pod."""

    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[PodIP, ...] = msgspec.field(name="podIPs", default=())
    start_time: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Object, frozen=True):
    """A pod."""

    RESOURCE = Resource("", ("v1",), "pods", "Pod")
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def labels(self) -> dict[str, str]:
        """metadata.labels."""
        return self.metadata.labels

    @property
    def annotations(self) -> dict[str, str]:
        """metadata.annotations."""
        return self.metadata.annotations

    @property
    def ready(self) -> bool:
        """The Ready condition is True."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)

    @property
    def turned(self) -> datetime | None:
        """When it became Ready, or stopped being so; None where nothing says it."""
        times = (c.last_transition_time for c in self.status.conditions if c.type == "Ready")
        return max((time for time in times if time is not None), default=None)


class PodTemplate(Value, frozen=True):
    """spec.template of a workload."""

    metadata: BareMetadata = BareMetadata()
    spec: PodSpec = PodSpec()
