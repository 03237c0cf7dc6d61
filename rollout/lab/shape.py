"""What a scenario file may look like: each value with its place, checked before anything is made of it.

The keys that there are, and what they mean, are in `docs/scenarios.md`; unknown ones are said by `scenario.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from rollout.lab.durations import duration
from rollout.lab.mesh.cron import next_run

Check = Callable[[Any, str], None]


def plain(value: Any) -> Any:
    """What YAML gives as JSON would: keys and dates are strings, as kubectl makes them.

    Raises:
        RecursionError: a part contains itself.
    """
    if isinstance(value, dict):
        return {_key(key): plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain(below) for below in value]
    return value.isoformat() if isinstance(value, date) else value


def _key(key: object) -> str:
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return key.isoformat() if isinstance(key, date) else str(key)


def check_scenario(document: object) -> None:
    """Say the first value that cannot be meant.

    Raises:
        ValueError: place, what is allowed there, and what stands there.
    """
    _SCENARIO(document, "")


def _wrong(where: str, allowed: str, value: object) -> ValueError:
    shown = repr(value)
    return ValueError(f"{where or 'the file'}: {allowed}, not {shown if len(shown) < 80 else shown[:77] + '...'}")


def _text(value: Any, where: str) -> None:
    if not isinstance(value, str | int | float):
        raise _wrong(where, "a text", value)


def _string(value: Any, where: str) -> None:
    if not isinstance(value, str):
        raise _wrong(where, "a string (in quotes if need be)", value)


def _flag(value: Any, where: str) -> None:
    if not isinstance(value, bool):
        raise _wrong(where, "true or false", value)


def _anything(_value: Any, _where: str) -> None:
    """Free."""


def _whole(low: int, high: int) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _wrong(where, f"a whole number from {low} to {high}", value)

    return check


def _number(low: float, high: float) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise _wrong(where, f"a number from {low:g} to {high:g}", value)

    return check


def _lasting(shortest: str = "0s") -> Check:
    def check(value: Any, where: str) -> None:
        try:
            found = duration(value)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if found < duration(shortest):
            raise _wrong(where, f"a duration of {shortest} or more", value)

    return check


def _one_of(*words: str) -> Check:
    named = [word or "''" for word in words]
    allowed = f"{', '.join(named[:-1])} or {named[-1]}"

    def check(value: Any, where: str) -> None:
        if value not in words:
            raise _wrong(where, allowed, value)

    return check


def _like(pattern: str, allowed: str) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, str | int | float) or not re.fullmatch(pattern, str(value)):
            raise _wrong(where, allowed, value)

    return check


def _list_of(item: Check, *, or_one: bool = False) -> Check:
    def check(value: Any, where: str) -> None:
        if or_one and not isinstance(value, list):
            item(value, where)
            return
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        for index, below in enumerate(value):
            item(below, f"{where}[{index}]")

    return check


def _map_of(item: Check) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(where, "keys and values", value)
        for key, below in value.items():
            item(below, f"{where}.{key}" if where else key)

    return check


def _keys(required: str = "", **known: Check) -> Check:
    """An object: what is needed, and a check by key ('from' is written `from_`); other keys are not looked at."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise _wrong(where, "keys and values", value)
        missing = [key for key in required.split() if value.get(key) is None]
        if missing:
            raise ValueError(f"{where or 'the file'}: missing key {', '.join(missing)}")
        for name, item in known.items():
            key = name.removesuffix("_")
            if key in value:
                item(value[key], f"{where}.{key}" if where else key)

    return check


def _may_be_empty(item: Check) -> Check:
    return lambda value, where: None if value is None else item(value, where)


def _rate(value: Any, where: str) -> None:
    number, _, unit = str(value).partition("/")
    try:
        fits = unit in ("", "s", "m", "h", "d") and 0 <= float(number) <= _MOST_CALLS
    except ValueError:
        fits = False
    if not fits or isinstance(value, bool) or math.isnan(float(number)):
        raise _wrong(where, "a rate such as 5/s or 12/h", value)


def _schedule(value: Any, where: str) -> None:
    try:
        next_run(str(value), 0)
    except ValueError as error:
        raise ValueError(f"{where}: {value!r} is no schedule of five fields such as '*/10 * * * *': {error}") from error


def _by_port(value: Any, where: str) -> None:
    _map_of(_keys())(value, where)
    for key in value:
        if not key.isdecimal():
            raise _wrong(where, "port numbers as keys", key)


_MOST_CALLS = 1_000_000
_PORT = _whole(1, 65_535)
_PAIR = _like(r"[^/\s]+/[^/\s]+", "NAMESPACE/NAME")
_TEXTS = _list_of(_text)
_META = _keys("name", name=_string, namespace=_string, labels=_may_be_empty(_map_of(_string)))
_SPEC = _keys(
    selector=_may_be_empty(_keys(matchLabels=_may_be_empty(_map_of(_string)))), mtls=_may_be_empty(_keys()),
    portLevelMtls=_may_be_empty(_by_port),
)  # fmt: skip
_MANIFEST = _keys(
    "apiVersion kind metadata", apiVersion=_string, kind=_string, metadata=_META, spec=_may_be_empty(_SPEC),
    age=_lasting(), by=_text,
)  # fmt: skip
_OBJECT = _keys("apiVersion kind name", apiVersion=_string, kind=_string, namespace=_string, name=_string)
_WHAT = _keys("kind", kind=_string, namespace=_string, name=_string, manager=_string, when=_keys())
_REFUSAL = _keys("kind webhook message", kind=_string, namespace=_string, when=_keys(), webhook=_text, message=_text)

_EDGE = _keys(
    "to",
    from_=_like(r"outside|kube-apiserver|prometheus|[^/\s]+/[^/\s]+",
                "from is NAMESPACE/NAME, outside, kube-apiserver or prometheus"),
    to=_like(r"[^/\s]+/[^/\s:]+:\d{1,5}", "NAMESPACE/SERVICE:PORT"),
    protocol=_one_of("http", "grpc", "tcp"), rate=_rate, swing=_number(0, 1), burst=_number(0, 1),
    jitter=_number(0, 2), daily=_like(r"([01]?\d|2[0-3]):[0-5]\d", "a time of day HH:MM (in quotes)"),
    calls=_whole(0, _MOST_CALLS), every=_lasting("1s"), connections=_whole(0, 10_000), lasts=_lasting("1ms"),
    bytes=_whole(0, 10**12), errors=_number(0, 1), by_address=_flag, own_tls=_flag, waits=_flag, address=_string,
)  # fmt: skip

_WORKLOAD = _keys(
    "name namespace",
    name=_string, namespace=_string, kind=_one_of("Deployment", "StatefulSet", "CronJob"), replicas=_whole(0, 1000),
    sidecar=_one_of("", "native", "classic", "none", "ambient"), ports=_map_of(_PORT), targets=_map_of(_PORT),
    probes=_keys(
        readiness=_like(r"(http|tcp|grpc) \d{1,5}|exec", "`http 8080`, `tcp 5432`, `grpc 9000` or `exec`"),
        liveness=_like(r"(http|tcp|grpc) \d{1,5}|exec", "`http 8080`, `tcp 5432`, `grpc 9000` or `exec`"),
    ),
    rewrite=_flag, env=_map_of(_text), args=_TEXTS, image=_string, labels=_map_of(_string),
    annotations=_map_of(_string), headless=_flag, gateway=_flag, schedule=_schedule, takes=_lasting("90s"),
    age=_lasting(),
)  # fmt: skip

_EVENT = _keys(
    after_flip=_lasting(), at=_lasting(), before=_lasting(), on_write=_WHAT, delay=_lasting(), named=_text, by=_text,
    apply=_list_of(_MANIFEST, or_one=True),
    patch=_keys("apiVersion kind name change", apiVersion=_string, kind=_string, namespace=_string, name=_string,
                change=_keys()),
    delete=_OBJECT,
    scale=_keys("workload replicas", workload=_PAIR, replicas=_whole(0, 1000),
                kind=_one_of("Deployment", "StatefulSet")),
    deploy=_PAIR, stop_caller=_string, caller=_map_of(_EDGE),
    prometheus=_keys(away=lambda value, where: None if value == "for ever" else _lasting()(value, where)),
    istiod=_one_of("stop", "start"),
    proxy=_keys("workload state", workload=_PAIR, state=_one_of("stuck", "rejecting", "ok"), pods=_whole(0, 1000)),
    fault=_keys("effect"), refuse=_REFUSAL,
)  # fmt: skip

_MESH = _keys(
    scrape_interval=_lasting("1s"), drain=_lasting("1s"), root=_string,
    propagation=_like(r"[^-]+(-[^-]+)?", "a duration, or two as 1s-3s"),
    version=_like(r"\d+\.\d+(\..+)?", "a version of Istio such as 1.27.3"),
    relabel=_may_be_empty(_keys(namespace=_string, pod=_string, drop=_TEXTS)),
)  # fmt: skip

_NAMESPACE = _keys(
    injection=_one_of("enabled", "late"), labels=_may_be_empty(_map_of(_string)), annotations=_map_of(_string)
)

_SCENARIO = _keys(
    "title description target namespaces expect",
    title=_text, description=_text, target=_list_of(_string, or_one=True),
    namespaces=_map_of(_may_be_empty(_NAMESPACE)), workloads=_may_be_empty(_list_of(_WORKLOAD)),
    manifests=_may_be_empty(_list_of(_MANIFEST)), traffic=_may_be_empty(_map_of(_EDGE)),
    events=_may_be_empty(_list_of(_EVENT)), refuse=_may_be_empty(_list_of(_REFUSAL)),
    user=_text, flags=_may_be_empty(_TEXTS), look_back=_lasting("1h"), mesh=_may_be_empty(_MESH),
    expect=_keys("exit outcome", exit=_whole(0, 255), outcome=_text, mentions=_may_be_empty(_TEXTS)),
    certificates=_may_be_empty(_map_of(_one_of("expired", "foreign-root", "wrong-san"))),
    diagnosis=_may_be_empty(
        _list_of(_keys("of exit says", of=_text, exit=_whole(0, 255), says=_list_of(_text, or_one=True)))
    ),
)  # fmt: skip
