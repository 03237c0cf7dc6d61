"""From a request's bytes to an object, with the server's words where that fails.

Go decodes into structs: a number where a string belongs is a 400 that names the struct field. MicroTime wants six
digits, which is where clients stumble (servers.md, trap 2).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

import yaml

from rollout.lab.api.kinds import Resource
from rollout.lab.api.schema import SCHEMAS, Schema, json_type
from rollout.lab.api.status import Json, bad_request

_GO_TYPES = {"integer": "number", "number": "number", "boolean": "bool"}
_TYPE_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"


class _Marked(dict[str, Any]):
    """An object that remembers which of its keys came twice."""

    twice: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> _Marked:
    marked = _Marked(pairs)
    if len(marked) < len(pairs):
        keys = [key for key, _ in pairs]
        marked.twice = tuple(key for key in marked if keys.count(key) > 1)
    return marked


def _duplicates(value: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, dict):
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            if key in getattr(value, "twice", ()):
                found.append(where)
            found += _duplicates(item, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _duplicates(item, f"{path}[{index}]")
    return found


def go_json_error(body: bytes) -> str:
    """What Go's decoder says about bytes that are no JSON."""
    text = body.decode("utf-8", "replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        at = error.pos
        if at >= len(text.rstrip()):
            return "unexpected end of JSON input"
        shown = text[at]
        if error.msg.startswith("Expecting property name"):
            return f"invalid character '{shown}' looking for beginning of object key string"
        if error.msg.startswith("Extra data"):
            return f"invalid character '{shown}' after top-level value"
        for word in ("null", "true", "false"):
            if shown == word[0]:
                good = len(_common(text[at:], word))
                if at + good >= len(text):
                    return "unexpected end of JSON input"
                return f"invalid character '{text[at + good]}' in literal {word} (expecting '{word[good]}')"
        return f"invalid character '{shown}' looking for beginning of value"
    return ""


def _common(left: str, right: str) -> str:
    count = 0
    while count < min(len(left), len(right)) and left[count] == right[count]:
        count += 1
    return left[:count]


def parse(body: bytes, media: str) -> tuple[Any, list[str]]:
    """The document and the paths of its duplicate keys.

    Raises:
        ValueError: with Go's sentence.
    """
    if media == "application/yaml":
        try:
            return yaml.safe_load(body), []
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
    try:
        document = json.loads(body, object_pairs_hook=_pairs)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(go_json_error(body)) from error
    return document, _duplicates(document, "")


def decode_object(body: bytes, media: str, resource: Resource, version: str) -> tuple[Json, list[str]]:
    """The object in the body of a create or update, with its kind checked.

    Raises:
        ApiError: 400.
    """
    kind = resource.kind
    try:
        document, duplicates = parse(body, media)
    except ValueError as error:
        shown = body.decode("utf-8", "replace") or "<empty>"
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse "
            f"error: {error} ({shown})"
        ) from error
    if not isinstance(document, dict):
        why = f"json: cannot unmarshal {_go_type(document)} into Go value of type {_TYPE_META}"
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse "
            f"error: {why} ({body.hex()})"
        )
    if resource.custom:
        _check_head(kind, document)
    given = document.get("apiVersion") or resource.api_version(version)
    wanted = resource.api_version(version)
    if given != wanted and (document.get("kind") or kind) == kind:
        if resource.custom:
            raise bad_request(
                f"the API version in the data ({given}) does not match the expected API version ({wanted})"
            )
        scheme = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"
        why = f'no kind "{kind}" is registered for version "{given}" in scheme "{scheme}"'
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')
    return document, duplicates


def _check_head(kind: str, document: Json) -> None:
    """A custom resource must say what it is."""
    for field, word in (("kind", "Kind"), ("apiVersion", "apiVersion")):
        if not document.get(field):
            whole = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
            first = next(iter(document), "")
            short = json.dumps({first: document.get(first)}, separators=(",", ":"))[:-1]
            raise bad_request(
                f"the object provided is unrecognized (must be of type {kind}): Object '{word}' is missing in "
                f"'{whole}' ({short}, ...)"
            )


def _go_type(value: Any) -> str:
    name = json_type(value)
    return _GO_TYPES.get(name, name)


def check_types(resource: Resource, version: str, obj: Json) -> None:
    """Refuse what Go could not decode into the kind's structs.

    Raises:
        ApiError: 400.
    """
    why = type_problem(resource, obj)
    if why:
        raise bad_request(f'{resource.kind} in version "{version}" cannot be handled as a {resource.kind}: {why}')


def type_problem(resource: Resource, obj: Json) -> str:
    """Go's sentence about the first field of a wrong type; '' when there is none."""
    why = _meta_problem(obj.get("metadata"), custom=resource.custom)
    if not why and not resource.custom and resource.kind in SCHEMAS:
        why = _problem(SCHEMAS[resource.kind], obj, resource.kind, "")
    return why


def _meta_problem(meta: Any, *, custom: bool) -> str:
    field = "ObjectMeta." if custom else "ObjectMeta.metadata."
    if meta is None:
        return ""
    if not isinstance(meta, dict):
        return f"json: cannot unmarshal {_go_type(meta)} into Go value of type v1.ObjectMeta"
    for key in ("name", "generateName", "namespace", "uid", "resourceVersion"):
        if not isinstance(meta.get(key, ""), str | None):
            return f"json: cannot unmarshal {_go_type(meta[key])} into Go struct field {field}{key} of type string"
    for key in ("labels", "annotations"):
        values = meta.get(key)
        if values is not None and not isinstance(values, dict):
            kind = _go_type(values)
            return f"json: cannot unmarshal {kind} into Go struct field {field}{key} of type map[string]string"
        for value in (values or {}).values():
            if not isinstance(value, str | None):
                return f"json: cannot unmarshal {_go_type(value)} into Go struct field {field}{key} of type string"
    return ""


def _problem(schema: Schema, obj: Json, struct: str, path: str) -> str:
    for key, below in schema["properties"].items():
        value = obj.get(key)
        if value is None:
            continue
        where = f"{path}{key}"
        wanted = below["type"]
        if json_type(value) != wanted:
            return (
                f"json: cannot unmarshal {_go_type(value)} into Go struct field {struct}.{where} of type "
                f"{_go_name(below)}"
            )
        if below.get("format") == "micro":
            why, obj[key] = micro_time(value)
            if why:
                return why
        if "additional" in below:
            why = _map_problem(below["additional"], value, struct, where)
            if why:
                return why
        elif "properties" in below:
            why = _problem(below, value, below.get("go", struct), f"{where}.")
            if why:
                return why
    return ""


def _go_name(schema: Schema) -> str:
    if "additional" in schema:
        return "map[string]string"
    names = {"string": "string", "integer": "int32", "boolean": "bool"}
    return names.get(schema["type"], str(schema.get("go", "v1")))


def _map_problem(schema: Schema, values: Json, struct: str, where: str) -> str:
    for value in values.values():
        if json_type(value) != schema["type"] and value is not None:
            return f"json: cannot unmarshal {_go_type(value)} into Go struct field {struct}.{where} of type string"
        if schema.get("format") == "byte" and value is not None:
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                bad = re.search(r"[^A-Za-z0-9+/=]", value)
                return f"illegal base64 data at input byte {bad.start() if bad else len(value) - len(value) % 4}"
    return ""


def secret_problem(document: Json) -> str:
    """What is wrong with a Secret's data, '' when nothing is."""
    data = document.get("data")
    schema: Schema = {"type": "string", "format": "byte"}
    return _map_problem(schema, data, "Secret", "data") if isinstance(data, dict) else ""


_STEPS = (
    (r"\d{4}", "2006"),
    ("-", "-"),
    (r"\d{2}", "01"),
    ("-", "-"),
    (r"\d{2}", "02"),
    ("T", "T"),
    (r"\d{2}", "15"),
    (":", ":"),
    (r"\d{2}", "04"),
    (":", ":"),
    (r"\d{2}", "05"),
    (r"[.,]\d{6}", ".000000"),
    (r"Z|[+-]\d{2}:\d{2}", "Z07:00"),
)


def micro_time(text: str) -> tuple[str, str]:
    """Go's complaint about a MicroTime ('' when it is one) and the time as it is stored: in UTC."""
    rest = text
    for pattern, layout in _STEPS:
        found = re.match(pattern, rest)
        if found is None:
            return (f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{rest}" as "{layout}"', text)
        rest = rest[found.end() :]
    if rest:
        return (f'parsing time "{text}": extra text: "{rest}"', text)
    return "", _utc(text.replace(",", "."))


def _utc(text: str) -> str:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
