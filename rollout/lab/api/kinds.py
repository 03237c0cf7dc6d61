"""Which kinds the API serves, and what is special about each: the one table behind routing and discovery.

A cluster without Istio, or one that knows only `security.istio.io/v1beta1`, is a smaller table: `Kinds.without`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rollout.lab.api.status import ApiError, Json

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind of object.

    Attributes:
        versions: served versions, the preferred one first.
        custom: defined by a CRD; its answers differ from a built-in kind's in many small ways.
        generation: `metadata.generation` counts changes of the spec.
        free_put: PUT needs no resourceVersion.
        put_creates: PUT on a missing object creates it.
        fields: selectable fields beside name and namespace.
        categories: `kubectl get all` and the like.
        deprecated: what every answer about it warns of.
        stored: the version that its storage hash is made of, when that is not `v1`.
    """

    group: str
    versions: tuple[str, ...]
    plural: str
    singular: str
    kind: str
    namespaced: bool = True
    custom: bool = False
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[str, ...] = ()
    generation: bool = False
    free_put: bool = True
    put_creates: bool = False
    fields: tuple[str, ...] = ()
    deprecated: str = ""
    stored: str = "v1"

    @property
    def key(self) -> tuple[str, str]:
        """Group and plural: what the store files objects under."""
        return (self.group, self.plural)

    def within(self, namespace: str) -> str:
        """The namespace as its objects have it: '' when they are of the whole cluster."""
        return namespace if self.namespaced else ""

    def api_version(self, version: str = "") -> str:
        """`v1`, or `apps/v1`."""
        version = version or self.versions[0]
        return f"{self.group}/{version}" if self.group else version


def _core(kind: str, plural: str, short: str = "", **more: object) -> Resource:
    shorts = tuple(filter(None, short.split(",")))
    return Resource("", ("v1",), plural, kind.lower(), kind, short_names=shorts, **more)  # type: ignore[arg-type]


def _apps(kind: str, plural: str, short: str) -> Resource:
    return Resource(
        "apps",
        ("v1",),
        plural,
        kind.lower(),
        kind,
        short_names=(short,),
        categories=("all",),
        subresources=("status",) if kind == "DaemonSet" else ("scale", "status"),
        generation=True,
    )


def _istio(group: str, versions: str, kind: str, plural: str, short: str = "", *, stored: str = "") -> Resource:
    return Resource(
        group,
        tuple(versions.split()),
        plural,
        kind.lower(),
        kind,
        custom=True,
        short_names=(short,) if short else (),
        categories=("istio-io", group.replace(".", "-").removesuffix("-istio-io") + "-istio-io"),
        subresources=("status",),
        generation=True,
        free_put=False,
        stored=stored or versions.split(maxsplit=1)[0],
    )


def _rbac(kind: str, plural: str, *, namespaced: bool) -> Resource:
    return Resource("rbac.authorization.k8s.io", ("v1",), plural, kind.lower(), kind, namespaced=namespaced)


def _extension(
    group: str, kind: str, plural: str, short: str = "", *, status: bool = False, stored: str = "v1"
) -> Resource:
    return Resource(
        group,
        ("v1",),
        plural,
        kind.lower(),
        kind,
        namespaced=False,
        short_names=tuple(filter(None, short.split(","))),
        categories=("api-extensions",),
        subresources=("status",) if status else (),
        generation=group != "apiregistration.k8s.io",
        free_put=False,
        stored=stored,
    )


def _review(group: str, kind: str, *, namespaced: bool = False) -> Resource:
    low = kind.lower()
    return Resource(group, ("v1",), low + "s", low, kind, namespaced=namespaced, verbs=("create",))


def _monitor(kind: str, plural: str, short: str) -> Resource:
    return Resource(
        "monitoring.coreos.com",
        ("v1",),
        plural,
        kind.lower(),
        kind,
        custom=True,
        short_names=(short,),
        categories=("prometheus-operator",),
        subresources=("status",),
        generation=True,
        free_put=False,
    )


_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
)
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_NAMESPACE_VERBS = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
_NETWORKING = "v1 v1beta1 v1alpha3"

CORE = (
    _core("ConfigMap", "configmaps", "cm"),
    _core(
        "Endpoints",
        "endpoints",
        "ep",
        deprecated="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ),
    _core("Event", "events", "ev", fields=_EVENT_FIELDS),
    _core(
        "Namespace",
        "namespaces",
        "ns",
        namespaced=False,
        verbs=_NAMESPACE_VERBS,
        subresources=("finalize", "status"),
        fields=("status.phase",),
    ),
    _core("Node", "nodes", "no", namespaced=False, subresources=("status",), fields=("spec.unschedulable",)),
    _core(
        "Pod",
        "pods",
        "po",
        categories=("all",),
        subresources=("binding", "eviction", "exec", "log", "status"),
        generation=True,
        fields=_POD_FIELDS,
    ),
    _core("Secret", "secrets", fields=("type",)),
    _core("ServiceAccount", "serviceaccounts", "sa"),
    _core("Service", "services", "svc", categories=("all",), subresources=("proxy", "status")),
    _extension("apiregistration.k8s.io", "APIService", "apiservices", status=True),
    _apps("DaemonSet", "daemonsets", "ds"),
    _apps("Deployment", "deployments", "deploy"),
    _apps("ReplicaSet", "replicasets", "rs"),
    _apps("StatefulSet", "statefulsets", "sts"),
    _review("authentication.k8s.io", "SelfSubjectReview"),
    _review("authorization.k8s.io", "LocalSubjectAccessReview", namespaced=True),
    _review("authorization.k8s.io", "SelfSubjectAccessReview"),
    _review("authorization.k8s.io", "SelfSubjectRulesReview"),
    _review("authorization.k8s.io", "SubjectAccessReview"),
    Resource(
        "batch",
        ("v1",),
        "cronjobs",
        "cronjob",
        "CronJob",
        short_names=("cj",),
        categories=("all",),
        subresources=("status",),
        generation=True,
    ),
    Resource("batch", ("v1",), "jobs", "job", "Job", categories=("all",), subresources=("status",), generation=True),
    Resource(
        "networking.k8s.io",
        ("v1",),
        "ingresses",
        "ingress",
        "Ingress",
        short_names=("ing",),
        subresources=("status",),
        generation=True,
    ),
    Resource(
        "networking.k8s.io",
        ("v1",),
        "networkpolicies",
        "networkpolicy",
        "NetworkPolicy",
        short_names=("netpol",),
        generation=True,
    ),
    _rbac("ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _rbac("ClusterRole", "clusterroles", namespaced=False),
    _rbac("RoleBinding", "rolebindings", namespaced=True),
    _rbac("Role", "roles", namespaced=True),
    _extension("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    _extension("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    _extension(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd,crds",
        status=True,
        stored="v1beta1",
    ),
    Resource("coordination.k8s.io", ("v1",), "leases", "lease", "Lease", free_put=False, put_creates=True),
    Resource("discovery.k8s.io", ("v1",), "endpointslices", "endpointslice", "EndpointSlice", generation=True),
)

ISTIO = (
    _istio("networking.istio.io", _NETWORKING, "DestinationRule", "destinationrules", "dr"),
    _istio("networking.istio.io", "v1alpha3", "EnvoyFilter", "envoyfilters"),
    _istio("networking.istio.io", _NETWORKING, "Gateway", "gateways", "gw"),
    _istio("networking.istio.io", _NETWORKING, "ServiceEntry", "serviceentries", "se"),
    _istio("networking.istio.io", _NETWORKING, "Sidecar", "sidecars"),
    _istio("networking.istio.io", _NETWORKING, "VirtualService", "virtualservices", "vs"),
    _istio("networking.istio.io", _NETWORKING, "WorkloadEntry", "workloadentries", "we"),
    _istio("networking.istio.io", _NETWORKING, "WorkloadGroup", "workloadgroups", "wg"),
    _istio("security.istio.io", "v1 v1beta1", "AuthorizationPolicy", "authorizationpolicies", "ap"),
    _istio("security.istio.io", "v1 v1beta1", "PeerAuthentication", "peerauthentications", "pa"),
    _istio("security.istio.io", "v1 v1beta1", "RequestAuthentication", "requestauthentications", "ra"),
    _istio("telemetry.istio.io", "v1 v1alpha1", "Telemetry", "telemetries", "telemetry", stored="v1alpha1"),
)

MONITORING = (_monitor("PodMonitor", "podmonitors", "pmon"), _monitor("ServiceMonitor", "servicemonitors", "smon"))


class Kinds:
    """The served resources, with look-ups by path and by kind."""

    def __init__(self, resources: Iterable[Resource] = (*CORE, *ISTIO, *MONITORING)) -> None:
        """Serve exactly these."""
        self.resources = tuple(resources)
        self._by_path = {(r.group, version, r.plural): r for r in self.resources for version in r.versions}
        self._by_kind = {(r.api_version(version), r.kind): r for r in self.resources for version in r.versions}
        self.groups: dict[str, tuple[str, ...]] = {}
        for resource in self.resources:
            known = self.groups.get(resource.group, ())
            fresh = tuple(version for version in resource.versions if version not in known)
            self.groups[resource.group] = tuple(sorted((*known, *fresh), key=_rank))

    def without(self, *group_versions: str) -> Kinds:
        """The same without groups (`security.istio.io`) or versions (`security.istio.io/v1`)."""
        kept: list[Resource] = []
        for resource in self.resources:
            if resource.group in group_versions:
                continue
            versions = tuple(v for v in resource.versions if resource.api_version(v) not in group_versions)
            if versions:
                kept.append(replace(resource, versions=versions))
        return Kinds(kept)

    def at(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a path, or None."""
        return self._by_path.get((group, version, plural))

    def of(self, api_version: str, kind: str) -> Resource:
        """The resource of an object.

        Raises:
            ApiError: 404, not served here.
        """
        found = self._by_kind.get((api_version, kind))
        if found is None:
            raise ApiError(404, "NotFound", f'no matches for kind "{kind}" in version "{api_version}"', {})
        return found

    def of_object(self, obj: Json) -> Resource:
        """The resource of an object that says its version and kind.

        Raises:
            ApiError: 404, not served here.
        """
        return self.of(str(obj.get("apiVersion")), str(obj.get("kind")))

    def in_version(self, group: str, version: str) -> list[Resource]:
        """Everything in one group version."""
        return [r for r in self.resources if r.group == group and version in r.versions]

    def custom_group(self, group: str) -> bool:
        """Whether a group is served by the CRD machinery (and an unknown path in it is plain text)."""
        return any(r.custom for r in self.resources if r.group == group)


def _rank(version: str) -> tuple[int, str]:
    """Versions by priority: v2, v1, v1beta1, v1alpha3."""
    return (1 if "beta" in version else 2 if "alpha" in version else 0, "".join(chr(255 - ord(c)) for c in version))
