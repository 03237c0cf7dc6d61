"""What every object has: metadata, conditions, selectors."""

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


class Value(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """Base of the parts of an object: camelCase on the wire. Trees, so the collector of cycles need not walk them."""


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


class BareMetadata(Value, frozen=True):
    """metadata, without managedFields: in a pod they are a third of it, and nobody asks who wrote a pod."""

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


class Metadata(BareMetadata, frozen=True):
    """metadata of an object of which it is asked who wrote it."""

    managed_fields: tuple[ManagedField, ...] = ()


class Object(Value, frozen=True):
    """Any API object. A subclass names its place in `RESOURCE`."""

    RESOURCE: ClassVar[Resource]
    metadata: BareMetadata = BareMetadata()

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


class Conditions(Value, frozen=True):
    """A status of which only the conditions count."""

    conditions: tuple[Condition, ...] = ()


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
