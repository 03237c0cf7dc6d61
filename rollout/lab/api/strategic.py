"""Strategic merge patch, for the built-in kinds: lists are merged by the keys in `shapes`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from rollout.lab.api.shapes import MERGE_KEYS, PRIMITIVE_MERGE
from rollout.lab.api.status import ApiError, Json

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"
_RETAIN = "$retainKeys"


def strategic_merge(target: Json, patch: Json) -> Json:
    """The target with the patch applied; neither is changed.

    Raises:
        ApiError: 500 with the server's words when the patch makes no sense.
    """
    result = _map(target, patch, ())
    return result if result is not None else {}


def _map(target: Json, patch: Json, path: tuple[str, ...]) -> Json | None:
    directive = patch.get("$patch")
    if directive is not None:
        if directive == "replace":
            return {key: deepcopy(value) for key, value in patch.items() if key != "$patch"}
        if directive == "delete":
            return None
        if directive != "merge":
            raise ApiError(500, "", f"unknown patch type: {directive} in map: {_go_map(patch)}")
    result = dict(target)
    if _RETAIN in patch:
        result = {key: value for key, value in result.items() if key in patch[_RETAIN]}
    for key, value in patch.items():
        if key in ("$patch", _RETAIN) or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE):
            _delete_primitives(result, key.removeprefix(_DELETE), value)
        elif value is None:
            result.pop(key, None)
        else:
            _field(result, key, value, path, patch.get(_ORDER + key))
    return result


def _field(result: Json, key: str, value: Any, path: tuple[str, ...], order: Any) -> None:
    there = result.get(key)
    if isinstance(value, dict):
        merged = _map(there if isinstance(there, dict) else {}, value, (*path, key))
        if merged is None:
            result.pop(key, None)
        else:
            result[key] = merged
    elif isinstance(value, list):
        result[key] = _list(there if isinstance(there, list) else [], value, (*path, key), order)
    else:
        result[key] = value


def _delete_primitives(result: Json, key: str, values: list[Any]) -> None:
    kept = [item for item in result.get(key) or [] if item not in values]
    if kept:
        result[key] = kept
    else:
        result.pop(key, None)


def _merge_key(path: tuple[str, ...]) -> str | None:
    if path[-1] == "ports":
        if len(path) > 1 and path[-2] in ("containers", "initContainers", "ephemeralContainers"):
            return "containerPort"
        return "port" if path == ("spec", "ports") else None
    return MERGE_KEYS.get(path[-1])


def _list(target: list[Any], patch: list[Any], path: tuple[str, ...], order: Any) -> list[Any]:
    if path[-1] in PRIMITIVE_MERGE:
        return [*patch, *(item for item in target if item not in patch)]
    key = _merge_key(path)
    if key is None or not all(isinstance(item, dict) for item in (*patch, *target)):
        return deepcopy(patch)
    if any(item.get("$patch") == "replace" for item in patch):
        return [deepcopy(item) for item in patch if "$patch" not in item]
    result = list(target)
    for item in patch:
        if key not in item:
            raise ApiError(500, "", f"map: {_go_map(item)} does not contain declared merge key: {key}")
        _merge_item(result, item, key, path)
    wanted = [entry.get(key) for entry in (order if isinstance(order, list) else patch) if isinstance(entry, dict)]
    return _ordered(result, wanted, [item.get(key) for item in target], key)


def _ordered(items: list[Any], wanted: list[Any], server: list[Any], key: str) -> list[Any]:
    """Patched items in the patch's order, woven with the others in the server's; a new item comes early."""
    mine = sorted((item for item in items if item[key] in wanted), key=lambda item: wanted.index(item[key]))
    others = [item for item in items if item[key] not in wanted]
    result: list[Any] = []
    while mine and others:
        both = mine[0][key] in server and others[0][key] in server
        first = both and server.index(others[0][key]) < server.index(mine[0][key])
        result.append((others if first else mine).pop(0))
    return [*result, *mine, *others]


def _merge_item(result: list[Any], item: Json, key: str, path: tuple[str, ...]) -> None:
    for index, there in enumerate(result):
        if there.get(key) == item[key]:
            merged = _map(there, item, path)
            if merged is None:
                del result[index]
            else:
                result[index] = merged
            return
    fresh = _map({}, item, path)
    if fresh is not None:
        result.append(fresh)


def _go_map(value: Json) -> str:
    return "map[" + " ".join(f"{key}:{value[key]}" for key in sorted(value)) + "]"
