"""Which recorded exchanges the lab answers otherwise than a whole server, and why: each is counted apart.

A refusal (404, 405, 406, 415, 501) is what a server without the feature answers; nothing here may succeed silently.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, NamedTuple

REFUSALS = (404, 405, 406, 415, 501)


class Kind(Enum):
    """What is still asked of an exchange that is counted apart."""

    REFUSED = "it must be refused"
    PART = "it must be as recorded but for kinds that are not served"
    FOLLOWS = "it follows from one that was refused: nothing but that the server stays sane"
    UNSENT = "it is not sent: a schema error of a kind that the product does not write, or it only builds a situation"


class Apart(NamedTuple):
    """Why, in the words of the summary, and what is still asked."""

    reason: str
    kind: Kind


STATUS_ONLY = {
    "pods/forbidden-change": "the message ends with a diff of Go's internal structs",
    "pods/forbidden-nodename-clear": "the same",
    "pods/table": "the recorded rows are in an order that no other list of the server shows",
}
"""Exchanges of which only the status is compared, and why."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


UNSERVED_GROUPS = _words(
    "events.k8s.io autoscaling certificates.k8s.io policy storage.k8s.io scheduling.k8s.io node.k8s.io",
    "resource.k8s.io flowcontrol.apiserver.k8s.io extensions.istio.io",
)
UNSERVED = _words(
    "bindings componentstatuses limitranges persistentvolumeclaims persistentvolumes podtemplates",
    "replicationcontrollers resourcequotas nodes/proxy pods/attach pods/ephemeralcontainers",
    "pods/portforward pods/proxy pods/resize serviceaccounts/token controllerrevisions tokenreviews ingressclasses",
    "ipaddresses servicecidrs mutatingadmissionpolicies mutatingadmissionpolicybindings validatingadmissionpolicies",
    "validatingadmissionpolicybindings proxyconfigs",
)
"""Kinds and subresources that the lab does not serve (their paths answer 404: test_contract proves it)."""


def without_unserved(document: Any) -> Any:
    """A discovery document without what the lab does not serve."""
    match document:
        case {"kind": "APIGroupList"}:
            return {**document, "groups": [g for g in document["groups"] if g["name"] not in UNSERVED_GROUPS]}
        case {"kind": "APIGroupDiscoveryList"}:
            groups = [g for g in document["items"] if g["metadata"].get("name") not in UNSERVED_GROUPS]
            return {**document, "items": [_group(group) for group in groups]}
        case {"kind": "APIResourceList"}:
            return {**document, "resources": [r for r in document["resources"] if _served(r["name"])]}
        case {"paths": dict() as paths}:
            kept = {key: value for key, value in paths.items() if _VERSION.fullmatch(key) and _path(key)}
            return {key: _HASH.sub("", value["serverRelativeURL"]) for key, value in kept.items()}
        case {"paths": list() as paths}:
            return {"paths": [path for path in paths if _path(path.strip("/")) and not _DETAIL.search(path)]}
        case _:
            return document


_DETAIL = re.compile(r"^/(healthz|livez|readyz)/|^/(flagz|statusz|metrics|openid|\.well-known|openapi/v2)")


_VERSION = re.compile(r"api/v1|apis/[^/]+/[^/]+")
_HASH = re.compile(r"[0-9A-F]{128}$")


def _path(path: str) -> bool:
    words = path.split("/")
    return not (words[0] == "apis" and len(words) > 1 and words[1] in UNSERVED_GROUPS)


def _served(name: str) -> bool:
    return name not in UNSERVED and name.partition("/")[0] not in UNSERVED


def _group(group: Any) -> Any:
    versions = []
    for version in group["versions"]:
        resources = []
        for resource in version["resources"]:
            if not _served(resource["resource"]):
                continue
            below = resource.get("subresources", [])
            subs = [sub for sub in below if _served(f"{resource['resource']}/{sub['subresource']}")]
            rest = {key: value for key, value in resource.items() if key != "subresources"}
            resources.append({**rest, "subresources": subs} if subs else rest)
        versions.append({**version, "resources": resources})
    return {**group, "versions": versions}


def _each(reason: str, kind: Kind, *names: str) -> dict[str, Apart]:
    return dict.fromkeys(" ".join(names).split(), Apart(reason, kind))


_PART = "compared without kinds that the lab does not serve"
_NO_SCHEMA = "schema errors of kinds that the product does not write: not sent"
_NO_CRD = "the lab has its kinds built in, no CustomResourceDefinition objects"

APART: dict[str, dict[str, Apart]] = {
    "discovery": {
        **_each(
            _PART,
            Kind.PART,
            "api-aggregated apis apis-slash apis-aggregated apis-aggregated-fallback-list",
            "resources-networking.istio.io-v1beta1 resources-apps-v1 resources-authentication.k8s.io-v1",
            "resources-admissionregistration.k8s.io-v1 resources-core-v1 resources-core-v1-slash openapi-v3-index",
        ),
        **_each("no events.k8s.io: 404", Kind.REFUSED, "resources-events.k8s.io-v1"),
        **_each(_NO_CRD, Kind.REFUSED, "crd-get"),
    },
    "odd-requests": _each(_PART, Kind.PART, "root"),
    "representations": {
        **_each(_NO_CRD, Kind.REFUSED, "table-crd"),
        **_each("no protobuf answers: 406", Kind.REFUSED, "protobuf-cm"),
        **_each("no protobuf answers: JSON, which is accepted too", Kind.FOLLOWS, "protobuf-then-json-cm"),
    },
    "destination-rule": _each(
        _NO_SCHEMA, Kind.UNSENT, "no-host bad-tls-mode bad-type bad-duration bad-oneof unknown-field"
    ),
    "field-validation": _each(_NO_SCHEMA, Kind.UNSENT, "pod-unknown-warn pod-unknown-strict"),
    "overload": _each(
        "no priority levels: the load is injected", Kind.UNSENT, "level schema seat-taken schema-delete level-delete"
    ),
    "events": {
        **_each(
            "no events.k8s.io: 404",
            Kind.REFUSED,
            "new-create new-no-event-time new-bad-type new-no-controller new-bad-controller new-no-action",
            "new-no-reason new-note-long new-generate-dot new-generate core-read-as-new new-read-as-core series",
            "new-immutable list-new-regarding list-new",
        ),
        **_each(
            "events that only events.k8s.io makes",
            Kind.FOLLOWS,
            "list-involved list-reason list-uid list-reporting list table",
        ),
    },
    "webhooks": {
        **_each("no webhook at a URL: 501", Kind.REFUSED, "validating-create validating-ignore side-effects"),
        **_each("what such a webhook does", Kind.FOLLOWS, "webhook-down validating-delete"),
        **_each(
            "no ValidatingAdmissionPolicy: 404", Kind.REFUSED, "policy-create policy-bind policy-unbind policy-delete"
        ),
        **_each("what such a policy does", Kind.FOLLOWS, "policy-denies"),
    },
    "server-side-apply": _each(
        "objects that only server-side apply makes",
        Kind.FOLLOWS,
        "update-by-other get get-2 put-keeps cm-update-takes-over",
    ),
}
