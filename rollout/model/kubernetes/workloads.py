"""What makes pods."""

from __future__ import annotations

from datetime import datetime

from rollout.model.kubernetes.meta import BareMetadata, Condition, LabelSelector, Metadata, Object, Resource, Value
from rollout.model.kubernetes.pods import PodTemplate


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

    metadata: Metadata = Metadata()
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

    metadata: BareMetadata = BareMetadata()
    spec: WorkloadSpec = WorkloadSpec()


class CronJobSpec(Value, frozen=True):
    """spec of a CronJob."""

    schedule: str = ""
    time_zone: str | None = None
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
