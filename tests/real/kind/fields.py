"""Fields and types of manifests against the official client's models: what a server with strict validation refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kubernetes import client

_PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,)}


def mistakes(document: dict[str, Any]) -> list[str]:
    """Paths of unknown fields, and of values of another type."""
    group = "" if "." not in document["apiVersion"] else document["apiVersion"].partition(".")[0].capitalize()
    names = [f"V1{document['kind']}", f"{group}V1{document['kind']}"]
    model = next((name for name in names if hasattr(client, name)), None)
    return list(_of(document, model, document["kind"])) if model else [f"{document['kind']}: unknown kind"]


def _of(value: Any, shape: str, path: str) -> Iterator[str]:
    inner = re.fullmatch(r"(?:list|List)\[(.+)\]", shape)
    if inner:
        if not isinstance(value, list):
            yield f"{path}: no list"
            return
        for number, item in enumerate(value):
            yield from _of(item, inner[1], f"{path}[{number}]")
        return
    pairs = re.fullmatch(r"(?:dict|Dict)[\[(]str, (.+)[\])]", shape)
    if pairs:
        if not isinstance(value, dict):
            yield f"{path}: no map"
            return
        for key, item in value.items():
            yield from _of(item, pairs[1], f"{path}.{key}")
        return
    model = getattr(client, shape, None)
    if model is not None and hasattr(model, "attribute_map"):
        yield from _fields(value, model, path)
    elif shape in _PLAIN and type(value) not in _PLAIN[shape]:
        yield f"{path}: {value!r} is no {shape}"


def _fields(value: Any, model: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: no object"
        return
    types = {model.attribute_map[name]: shape for name, shape in model.openapi_types.items()}
    for key, item in value.items():
        if key in types:
            yield from _of(item, types[key], f"{path}.{key}")
        else:
            yield f"{path}.{key}: unknown field"
