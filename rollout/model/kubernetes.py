"""Kubernetes objects, only with the fields that some rule reads.

A list of 10,000 pods decodes into these in half a second and a few megabytes; typed models of the official client
need twenty seconds (facts: libraries.md 3). Unknown fields are dropped, and nothing here is ever written back:
writes are merge patches of single fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import msgspec


class Resource(msgspec.Struct, frozen=True):
    """Where a kind lives in the API: group ('' is core), versions (the wanted one first), plural, kind."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def name(self) -> str:
        """As RBAC and people write it, such as `peerauthentications.security.istio.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


class Ref(msgspec.Struct, frozen=True, order=True):
    """An object's name; printed as `PeerAuthentication production/default`, or `Namespace production`."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """The one spelling on screens, in JSON and in waivers."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Value(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of the parts of an object: camelCase on the wire."""


class OwnerReference(Value, frozen=True):
    """metadata.ownerReferences[]."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ManagedField(Value, frozen=True):
    """metadata.managedFields[]: who wrote which fields, and when."""

    manager: str = ""
    operation: str = ""
    time: datetime | None = None
    subresource: str = ""
    fields: dict[str, Any] = msgspec.field(name="fieldsV1", default_factory=dict)


class Metadata(Value, frozen=True):
    """metadata."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    managed_fields: tuple[ManagedField, ...] = ()


class Object(Value, frozen=True):
    """Any API object. A subclass names its place in `RESOURCE`."""

    RESOURCE: ClassVar[Resource]
    metadata: Metadata = Metadata()

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """metadata.namespace, '' for a cluster-scoped object."""
        return self.metadata.namespace

    @property
    def ref(self) -> Ref:
        """The object's name with its kind."""
        return Ref(self.RESOURCE.kind, self.metadata.namespace, self.metadata.name)


class Condition(Value, frozen=True):
    """status.conditions[]."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class LabelRequirement(Value, frozen=True):
    """matchExpressions[]."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(Value, frozen=True):
    """A LabelSelector; without terms it selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelRequirement, ...] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Evaluate as kube-apiserver does."""
        if any(labels.get(key) != value for key, value in self.match_labels.items()):
            return False
        return all(_meets(term, labels) for term in self.match_expressions)


def _meets(term: LabelRequirement, labels: dict[str, str]) -> bool:
    match term.operator:
        case "In":
            return labels.get(term.key) in term.values
        case "NotIn":
            return labels.get(term.key) not in term.values
        case "Exists":
            return term.key in labels
        case "DoesNotExist":
            return term.key not in labels
        case _:
            return False


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


class Handler(Value, frozen=True):
    """A probe, or one side of a lifecycle."""

    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    exec: dict[str, Any] | None = None
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


class ContainerStatus(Value, frozen=True):
    """status.containerStatuses[]."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0


class PodStatus(Value, frozen=True):
    """status of a pod."""

    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
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


class PodTemplate(Value, frozen=True):
    """spec.template of a workload."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class WorkloadSpec(Value, frozen=True):
    """spec of Deployment, StatefulSet, DaemonSet, ReplicaSet and Job."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplate = PodTemplate()


class WorkloadStatus(Value, frozen=True):
    """status of Deployment, StatefulSet, DaemonSet, ReplicaSet and Job."""

    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    updated_replicas: int = 0
    observed_generation: int = 0
    desired_number_scheduled: int = 0
    number_available: int = 0
    failed: int = 0
    succeeded: int = 0
    conditions: tuple[Condition, ...] = ()


class Workload(Object, frozen=True):
    """What owns pods."""

    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


class Deployment(Workload, frozen=True):
    """A Deployment."""

    RESOURCE = Resource("apps", ("v1",), "deployments", "Deployment")


class StatefulSet(Workload, frozen=True):
    """A StatefulSet."""

    RESOURCE = Resource("apps", ("v1",), "statefulsets", "StatefulSet")


class DaemonSet(Workload, frozen=True):
    """A DaemonSet."""

    RESOURCE = Resource("apps", ("v1",), "daemonsets", "DaemonSet")


class ReplicaSet(Workload, frozen=True):
    """A ReplicaSet."""

    RESOURCE = Resource("apps", ("v1",), "replicasets", "ReplicaSet")


class Job(Workload, frozen=True):
    """A Job."""

    RESOURCE = Resource("batch", ("v1",), "jobs", "Job")


class JobTemplate(Value, frozen=True):
    """spec.jobTemplate."""

    metadata: Metadata = Metadata()
    spec: WorkloadSpec = WorkloadSpec()


class CronJobSpec(Value, frozen=True):
    """spec of a CronJob."""

    schedule: str = ""
    suspend: bool = False
    job_template: JobTemplate = JobTemplate()


class CronJobStatus(Value, frozen=True):
    """status of a CronJob."""

    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None


class CronJob(Object, frozen=True):
    """A CronJob."""

    RESOURCE = Resource("batch", ("v1",), "cronjobs", "CronJob")
    spec: CronJobSpec = CronJobSpec()
    status: CronJobStatus = CronJobStatus()


class ServicePort(Value, frozen=True):
    """spec.ports[]; `target_port` is a number, a container port's name, or absent (= port)."""

    port: int = 0
    name: str = ""
    target_port: int | str | None = None
    protocol: str = "TCP"
    app_protocol: str | None = None
    node_port: int = 0


class ServiceSpec(Value, frozen=True):
    """spec of a Service."""

    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    type: str = "ClusterIP"
    external_name: str = ""


class Service(Object, frozen=True):
    """A Service."""

    RESOURCE = Resource("", ("v1",), "services", "Service")
    spec: ServiceSpec = ServiceSpec()

    @property
    def headless(self) -> bool:
        """clusterIP is None: clients get pod addresses."""
        return self.spec.cluster_ip == "None"


class Phase(Value, frozen=True):
    """status.phase."""

    phase: str = ""


class Namespace(Object, frozen=True):
    """A Namespace."""

    RESOURCE = Resource("", ("v1",), "namespaces", "Namespace", namespaced=False)
    status: Phase = Phase()


class NodeSpec(Value, frozen=True):
    """spec of a Node."""

    unschedulable: bool = False


class NodeStatus(Value, frozen=True):
    """status of a Node."""

    conditions: tuple[Condition, ...] = ()


class Node(Object, frozen=True):
    """A Node."""

    RESOURCE = Resource("", ("v1",), "nodes", "Node", namespaced=False)
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ConfigMap(Object, frozen=True):
    """A ConfigMap."""

    RESOURCE = Resource("", ("v1",), "configmaps", "ConfigMap")
    data: dict[str, str] = {}


class ServiceReference(Value, frozen=True):
    """The Service that kube-apiserver calls."""

    namespace: str = ""
    name: str = ""
    port: int | None = None
    path: str | None = None


class ClientConfig(Value, frozen=True):
    """webhooks[].clientConfig and conversion.webhook.clientConfig."""

    service: ServiceReference | None = None
    url: str | None = None


class Webhook(Value, frozen=True):
    """webhooks[]."""

    name: str = ""
    client_config: ClientConfig = ClientConfig()
    namespace_selector: LabelSelector | None = None
    object_selector: LabelSelector | None = None
    failure_policy: str = "Fail"


class MutatingWebhookConfiguration(Object, frozen=True):
    """Admission webhooks that change objects; sidecar injection is one."""

    RESOURCE = Resource(
        "admissionregistration.k8s.io",
        ("v1",),
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        namespaced=False,
    )
    webhooks: tuple[Webhook, ...] = ()


class ValidatingWebhookConfiguration(Object, frozen=True):
    """Admission webhooks that refuse objects."""

    RESOURCE = Resource(
        "admissionregistration.k8s.io",
        ("v1",),
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        namespaced=False,
    )
    webhooks: tuple[Webhook, ...] = ()


class APIServiceSpec(Value, frozen=True):
    """spec of an APIService; `service` is None for groups that kube-apiserver serves itself."""

    service: ServiceReference | None = None
    group: str = ""
    version: str = ""


class Conditions(Value, frozen=True):
    """A status of which only the conditions count."""

    conditions: tuple[Condition, ...] = ()


class APIService(Object, frozen=True):
    """An aggregated API."""

    RESOURCE = Resource("apiregistration.k8s.io", ("v1",), "apiservices", "APIService", namespaced=False)
    spec: APIServiceSpec = APIServiceSpec()
    status: Conditions = Conditions()


class WebhookConversion(Value, frozen=True):
    """spec.conversion.webhook."""

    client_config: ClientConfig | None = None


class CustomResourceConversion(Value, frozen=True):
    """spec.conversion."""

    strategy: str = "None"
    webhook: WebhookConversion | None = None


class CustomResourceDefinitionSpec(Value, frozen=True):
    """spec of a CustomResourceDefinition."""

    group: str = ""
    conversion: CustomResourceConversion | None = None


class CustomResourceDefinition(Object, frozen=True):
    """A CustomResourceDefinition, for its conversion webhook."""

    RESOURCE = Resource(
        "apiextensions.k8s.io",
        ("v1",),
        "customresourcedefinitions",
        "CustomResourceDefinition",
        namespaced=False,
    )
    spec: CustomResourceDefinitionSpec = CustomResourceDefinitionSpec()


class IngressPort(Value, frozen=True):
    """backend.service.port."""

    number: int = 0
    name: str = ""


class IngressServiceBackend(Value, frozen=True):
    """backend.service."""

    name: str = ""
    port: IngressPort = IngressPort()


class IngressBackend(Value, frozen=True):
    """defaultBackend, and paths[].backend."""

    service: IngressServiceBackend | None = None


class IngressPath(Value, frozen=True):
    """rules[].http.paths[]."""

    path: str = ""
    backend: IngressBackend = IngressBackend()


class IngressHTTP(Value, frozen=True):
    """rules[].http."""

    paths: tuple[IngressPath, ...] = ()


class IngressRule(Value, frozen=True):
    """rules[]."""

    host: str = ""
    http: IngressHTTP | None = None


class IngressSpec(Value, frozen=True):
    """spec of an Ingress."""

    ingress_class_name: str = ""
    default_backend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()


class Ingress(Object, frozen=True):
    """An Ingress: its controller calls the backends."""

    RESOURCE = Resource("networking.k8s.io", ("v1",), "ingresses", "Ingress")
    spec: IngressSpec = IngressSpec()


class MonitorEndpoint(Value, frozen=True):
    """endpoints[] of a ServiceMonitor, podMetricsEndpoints[] of a PodMonitor."""

    port: str = ""
    target_port: int | str | None = None
    path: str = ""
    scheme: str = ""


class NamespaceSelector(Value, frozen=True):
    """spec.namespaceSelector of a monitor."""

    any: bool = False
    match_names: tuple[str, ...] = ()


class MonitorSpec(Value, frozen=True):
    """spec of ServiceMonitor and PodMonitor."""

    selector: LabelSelector = LabelSelector()
    namespace_selector: NamespaceSelector = NamespaceSelector()
    endpoints: tuple[MonitorEndpoint, ...] = ()
    pod_metrics_endpoints: tuple[MonitorEndpoint, ...] = ()


class ServiceMonitor(Object, frozen=True):
    """prometheus-operator's description of a scrape through a Service."""

    RESOURCE = Resource("monitoring.coreos.com", ("v1",), "servicemonitors", "ServiceMonitor")
    spec: MonitorSpec = MonitorSpec()


class PodMonitor(Object, frozen=True):
    """prometheus-operator's description of a scrape of pods."""

    RESOURCE = Resource("monitoring.coreos.com", ("v1",), "podmonitors", "PodMonitor")
    spec: MonitorSpec = MonitorSpec()
