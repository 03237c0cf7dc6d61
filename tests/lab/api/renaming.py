"""The same exchanges with other names: what people choose is renamed, in requests and in the recorded answers alike.

Renamed are whole words (`shop`, `contract-pods`): names of objects and namespaces, keys and values of labels,
annotations and data, users, groups, field managers. A word that means something to the server (a field, a kind, an
enum, part of one of its sentences) stays. Every word grows in the same place, behind its first letter, so that what
was sorted stays sorted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote, unquote

Json = dict[str, Any]

_WORD = re.compile(r"<[a-z-]+(?::[^>]*)?>|[A-Za-z_][A-Za-z0-9_]*(?:-+[A-Za-z0-9_]+)*")
_MAPS = ("labels", "annotations", "matchLabels", "data", "stringData", "nodeSelector")
_NAMES = (
    "name namespace generateName holderIdentity image hostname nodeName user username uid component host message reason"
    " preferredHolder"
)
_LISTS = ("finalizers", "resourceNames", "groups")
_KEPT_HEADERS = ("Accept", "Content-Type", "Authorization", "Accept-Encoding")
_ALWAYS_KEPT = (
    "default kube-system kube-public kube-node-lease kube kubernetes admin system masters"
    " authenticated unauthenticated serviceaccount serviceaccounts anonymous All true false null uid name path"
    " cluster-admin view edit Bearer istio-system peerauthentications security istio io v1 k8s org com example latest"
    " seccomp alpha beta pod os arch f k v"
)
_LONGEST = 40


def rename(topic: Json, infix: str) -> Json:
    """The topic with other names.

    Args:
        topic: as recorded.
        infix: what every renamed word gets behind its first letter.
    """
    words = renamable(topic)

    def text(value: str) -> str:
        return renamed(value, words, infix)

    def deep(value: Any) -> Any:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, list):
            return [deep(item) for item in value]
        if isinstance(value, dict):
            return {text(key): item if key == "binaryData" else deep(item) for key, item in value.items()}
        return value

    def exchange(old: Json) -> Json:
        request, response = old["request"], old["response"]
        headers = {k: v if k in _KEPT_HEADERS else deep(v) for k, v in request["headers"].items()}
        asked = {**request, "path": _path(request["path"], text), "headers": headers}
        for key in ("body", "bodyText"):
            if key in request:
                asked[key] = deep(request[key])
        answered = dict(response)
        for key in ("body", "bodyText", "stream"):
            if key in response:
                answered[key] = deep(response[key])
        if "Warning" in response["headers"]:
            answered["headers"] = {**response["headers"], "Warning": deep(response["headers"]["Warning"])}
        new = {**old, "request": asked, "response": answered}
        if "during" in old:
            new["during"] = [exchange(inner) for inner in old["during"]]
        return new

    return {**topic, "exchanges": [exchange(old) for old in topic["exchanges"]]}


def renamed(text: str, words: frozenset[str], infix: str) -> str:
    """A text in which these words have grown."""
    return _WORD.sub(lambda match: match[0][0] + infix + match[0][1:] if match[0] in words else match[0], text)


def _path(path: str, text: Any) -> str:
    """A path renamed; escapes are kept where nothing was."""
    pieces = re.split(r"([/?&=])", path)
    for index, piece in enumerate(pieces):
        plain = unquote(piece)
        if text(plain) != plain:
            pieces[index] = quote(text(plain), safe="<>:*")
    return "".join(pieces)


def renamable(topic: Json) -> frozenset[str]:
    """The words of a topic that people chose and that mean nothing to the server."""
    chosen: set[str] = {"limited", "limited-group", "limited-uid"}  # the user of one of the tokens
    kept: set[str] = set(_ALWAYS_KEPT.split())
    for exchange in every(topic["exchanges"]):
        request, response = exchange["request"], exchange["response"]
        path, _, query = request["path"].partition("?")
        segments = [unquote(segment) for segment in path.strip("/").split("/")]
        for before, segment in pairwise(segments):
            (chosen if _names(before, segments) else kept).update(_words(segment))
        kept.update(_words(segments[0]))
        for parameter in filter(None, query.split("&")):
            key, _, value = parameter.partition("=")
            kept.update(_words(key))
            free = key in ("fieldManager", "labelSelector") and unquote(value).isprintable()
            words = re.findall(r"(?:^|,)([^=!,]+)", unquote(value)) if key == "fieldSelector" else [unquote(value)]
            (chosen if free else kept).update(word for part in words for word in _words(part))
        agent = request["headers"].get("User-Agent", "")
        chosen.update(_words(agent.partition("/")[0]))
        for key, value in request["headers"].items():
            if key.startswith("Impersonate"):
                chosen.update(_words(str(value)))
        _sort(request.get("body"), chosen, kept)
        _keep(response.get("body"), kept)
        _keep(response.get("stream"), kept)
    namespaces = {word for word in chosen if word.startswith("contract-")}  # in a few sentences without quotes
    return frozenset(word for word in (chosen - kept) | namespaces if len(word) <= _LONGEST)


def every(exchanges: list[Json]) -> Iterator[Json]:
    """All exchanges, those too that were sent during another."""
    for exchange in exchanges:
        yield exchange
        yield from every(exchange.get("during", []))


def _names(before: str, segments: list[str]) -> bool:
    """Whether the segment after this one is a name: it follows a plural, which is no group, version or root."""
    head = 2 if segments[0] == "api" else 3
    return before in segments[head:] and segments.index(before) >= head and (segments.index(before) - head) % 2 == 0


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if not word.startswith("<")]


def _sort(value: Any, chosen: set[str], kept: set[str]) -> None:
    """Sort the words of a request's body."""
    if isinstance(value, list):
        for item in value:
            _sort(item, chosen, kept)
        return
    if not isinstance(value, dict):
        kept.update(_words(value) if isinstance(value, str) else ())
        return
    for key, item in value.items():
        kept.update(_words(key))
        if key in _MAPS and isinstance(item, dict):
            for name, content in item.items():
                chosen.update(_words(name))
                words = _words(content) if isinstance(content, str) else []
                (kept if name.startswith("$") else chosen).update(words)
        elif (key in _NAMES.split() and isinstance(item, str)) or (key in _LISTS and isinstance(item, list)):
            if "<" not in str(item):
                chosen.update(_words(str(item)))
        else:
            _sort(item, chosen, kept)


def _keep(value: Any, kept: set[str]) -> None:
    """Keep the fields of an answer, and the words of the server's own sentences (what is not quoted in them)."""
    if isinstance(value, list):
        for item in value:
            _keep(item, kept)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key in _MAPS or key == "fieldsV1":
            continue
        kept.update(_words(key))
        if key in ("message", "reason", "kind", "description") and isinstance(item, str):
            kept.update(_words(re.sub(r'"(?:\\.|[^"\\])*"', "", item)))
        _keep(item, kept)
