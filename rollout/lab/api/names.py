"""What names, labels and annotations may look like, in the server's words."""

from __future__ import annotations

import re
from typing import Any

from rollout.lab.api.status import Cause, Json, bad_value, go, required, too_long

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_NAME})?"
_DNS1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"

_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end"
    f" with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start"
    f" and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_DNS1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character,"
    " and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is"
    f" '{_DNS1035}')"
)
_NAME_WORDS = (
    "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    f" (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME}')"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    f" '{_VALUE}')"
)
_ANNOTATIONS_LIMIT = 262144
_FINALIZERS = ("foregroundDeletion", "orphan", "kubernetes")


def label_problems(value: str) -> list[str]:
    """RFC 1123 label: namespaces."""
    found = ["must be no more than 63 characters"] if len(value) > 63 else []
    if not re.fullmatch(_LABEL, value):
        found.append("must not contain dots" if "." in value else _LABEL_WORDS)
    return found


def dns1035_problems(value: str) -> list[str]:
    """DNS 1035 label: services."""
    found = ["must be no more than 63 characters"] if len(value) > 63 else []
    if not re.fullmatch(_DNS1035, value):
        found.append(_DNS1035_WORDS)
    return found


def subdomain_problems(value: str) -> list[str]:
    """RFC 1123 subdomain: most objects."""
    found = ["must be no more than 253 characters"] if len(value) > 253 else []
    if not re.fullmatch(_SUBDOMAIN, value):
        found.append(_SUBDOMAIN_WORDS)
    return found


def path_problems(value: str) -> list[str]:
    """Names that only must be usable in a path: roles and bindings."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{mark}'" for mark in ("/", "%") if mark in value]


def label_key_problems(key: str) -> list[str]:
    """A label's key: an optional DNS prefix, a slash, a name."""
    prefix, slash, name = key.rpartition("/")
    found: list[str] = []
    if "/" in prefix:
        return [
            "a valid label key must " + _NAME_WORDS + " with an optional DNS subdomain prefix and '/'"
            " (e.g. 'example.com/MyName')"
        ]
    if slash:
        if not prefix:
            found.append("prefix part must be non-empty")
        elif not re.fullmatch(_SUBDOMAIN, prefix):
            found.append("prefix part " + _SUBDOMAIN_WORDS)
    if not name:
        found.append("name part must be non-empty")
    if len(name) > 63:
        found.append("name part must be no more than 63 bytes")
    if not re.fullmatch(_NAME, name):
        found.append("name part must " + _NAME_WORDS)
    return found


def label_value_problems(value: str) -> list[str]:
    """A label's value."""
    found = ["must be no more than 63 bytes"] if len(value) > 63 else []
    if not re.fullmatch(_VALUE, value):
        found.append(_VALUE_WORDS)
    return found


_RULES = {
    "namespaces": label_problems,
    "services": dns1035_problems,
    "events": path_problems,
    "roles": path_problems,
    "rolebindings": path_problems,
    "clusterroles": path_problems,
    "clusterrolebindings": path_problems,
}


def metadata_causes(plural: str, meta: Json, *, custom: bool) -> list[Cause]:
    """Everything wrong with an object's metadata, in the server's order."""
    rule = _RULES.get(plural, subdomain_problems)
    causes: list[Cause] = []
    name = meta.get("name") or ""
    prefix = meta.get("generateName") or ""
    if prefix:
        checked = prefix[:-1] + "a" if prefix.endswith("-") else prefix
        causes += [bad_value("metadata.generateName", prefix, why) for why in rule(checked)]
    if name:
        causes += [bad_value("metadata.name", name, why) for why in rule(name)]
    else:
        causes.append(required("metadata.name", "name or generateName is required"))
    causes += _label_causes(meta.get("labels") or {})
    causes += _annotation_causes(meta.get("annotations") or {})
    causes += _owner_causes(meta.get("ownerReferences") or [])
    if not custom:
        causes += finalizer_causes(meta.get("finalizers") or [])
    return causes


def _label_causes(labels: dict[str, str]) -> list[Cause]:
    causes: list[Cause] = []
    for key in sorted(labels):
        causes += [bad_value("metadata.labels", key, why) for why in label_key_problems(key)]
        causes += [bad_value("metadata.labels", labels[key], why) for why in label_value_problems(labels[key])]
    return causes


def _annotation_causes(annotations: dict[str, str]) -> list[Cause]:
    causes: list[Cause] = []
    for key in sorted(annotations):
        causes += [bad_value("metadata.annotations", key, why) for why in label_key_problems(key.lower())]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        causes.append(too_long("metadata.annotations", _ANNOTATIONS_LIMIT))
    return causes


def _owner_causes(owners: list[Json]) -> list[Cause]:
    causes: list[Cause] = []
    where = "metadata.ownerReferences"
    for owner in owners:
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                shown = "version" if field == "apiVersion" else field
                causes.append(bad_value(f"{where}.{shown}", "", "must not be empty"))
    controllers = [f"{owner.get('kind')}/{owner.get('name')}" for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        why = (
            'Only one reference can have Controller set to true. Found "true" in references for '
            f"{controllers[0]} and {controllers[1]}"
        )
        causes.append(Cause("FieldValueInvalid", f"Invalid value: {go(owners)}: {why}", where))
    return causes


def finalizer_causes(finalizers: list[Any]) -> list[Cause]:
    """A finalizer of a built-in kind must be qualified by a domain."""
    return [
        bad_value(
            f"metadata.finalizers[{index}]",
            word,
            "name is neither a standard finalizer name nor is it fully qualified",
        )
        for index, word in enumerate(finalizers)
        if "/" not in word and word not in _FINALIZERS
    ]
