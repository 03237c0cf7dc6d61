"""JSON merge patch (RFC 7396) and JSON patch (RFC 6902) as kube-apiserver applies them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from rollout.lab.api.status import Json, bad_request, rejected_patch

_MISSING = object()


def merge(target: Any, patch: Any) -> Any:
    """The target with a merge patch applied; null removes. Neither argument is changed."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def json_patch(target: Json, operations: Any) -> Json:
    """The target with a JSON patch applied.

    `replace` on a missing key adds it and `test` for null passes on one, as the server's library does.

    Raises:
        ApiError: 400 when this is no list; 422 when an operation cannot be applied.
    """
    if not isinstance(operations, list):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {_json_type(operations)} into Go value of type "
            "[]handlers.jsonPatchOp"
        )
    document: Any = deepcopy(target)
    try:
        for operation in operations:
            document = _apply(document, operation)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise rejected_patch() from error
    if not isinstance(document, dict):
        raise rejected_patch()
    return document


def _json_type(value: Any) -> str:
    if isinstance(value, dict):
        return "object"
    if isinstance(value, str):
        return "string"
    return "bool" if isinstance(value, bool) else "number"


def _apply(document: Any, operation: Any) -> Any:
    name = operation["op"]
    parent, last = _locate(document, operation["path"])
    match name:
        case "add":
            return _put(document, parent, last, deepcopy(operation.get("value")), insert=True)
        case "replace":
            _put(document, parent, last, deepcopy(operation.get("value")), insert=False)
        case "remove":
            _remove(parent, last)
        case "test":
            if _value(parent, last) != operation.get("value"):
                raise ValueError(last)
        case "move" | "copy":
            source, key = _locate(document, operation["from"])
            value = deepcopy(_value(source, key, required=True))
            if name == "move":
                _remove(source, key)
                parent, last = _locate(document, operation["path"])
            return _put(document, parent, last, value, insert=True)
        case _:
            raise ValueError(name)
    return document


def _locate(document: Any, path: str) -> tuple[Any, str]:
    """The container that the path's last word stands in, and that word.

    The server's library ignores what stands before the first slash.
    """
    words = [word.replace("~1", "/").replace("~0", "~") for word in path.split("/")[1:]]
    if not words:
        return None, ""
    here = document
    for word in words[:-1]:
        here = here[_index(here, word)] if isinstance(here, list) else here[word]
    if not isinstance(here, dict | list):
        raise TypeError(path)
    return here, words[-1]


def _index(items: list[Any], word: str) -> int:
    index = int(word)
    if not -len(items) <= index < len(items):
        raise IndexError(word)
    return index


def _put(document: Any, parent: Any, last: str, value: Any, *, insert: bool) -> Any:
    if parent is None:
        return value
    if isinstance(parent, dict):
        parent[last] = value
    elif insert and last == "-":
        parent.append(value)
    elif insert:
        if not 0 <= int(last) <= len(parent):
            raise IndexError(last)
        parent.insert(int(last), value)
    else:
        parent[_index(parent, last)] = value
    return document


def _remove(parent: Any, last: str) -> None:
    if isinstance(parent, list):
        del parent[_index(parent, last)]
    else:
        del parent[last]


def _value(parent: Any, last: str, *, required: bool = False) -> Any:
    if isinstance(parent, list):
        return parent[_index(parent, last)]
    return parent[last] if required else parent.get(last)
