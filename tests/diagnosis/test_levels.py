"""Loggers are raised for a while, and put back whatever happens in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from rollout.diagnosis.levels import Levels, put_back, raised
from rollout.errors import NotFound, RolloutError
from rollout.model.kubernetes import Ref

A, B, C = (Ref("Pod", "production", name) for name in "abc")
QUIET = {"connection": "warning", "conn_handler": "info", "rbac": "warning", "http": "warning"}


class Proxies:
    """`ports.Loggers` of a dict; a pod in `broken` answers with that error, in `stubborn` it does not change."""

    def __init__(self, *pods: Ref) -> None:
        self.now = {pod: dict(QUIET) for pod in pods}
        self.broken: dict[Ref, RolloutError] = {}
        self.stubborn: dict[Ref, RolloutError] = {}
        self.order: list[str] = []

    def levels(self, pod: Ref) -> Mapping[str, str]:
        if pod in self.broken:
            raise self.broken[pod]
        return dict(self.now[pod])

    def set_levels(self, pod: Ref, levels: Mapping[str, str]) -> None:
        if pod in self.stubborn:
            raise self.stubborn[pod]
        self.order.append(f"{pod.name}: {' '.join(sorted(set(levels.values())))}")
        self.now[pod].update(levels)


class Book:
    """Where levels are written down."""

    def __init__(self, proxies: Proxies) -> None:
        self.proxies = proxies
        self.kept: Levels = {}
        self.done: Collection[Ref] | None = None

    def keep(self, levels: Levels) -> Book:
        self.proxies.order.append("kept")
        self.kept = {pod: dict(before) for pod, before in levels.items()}
        return self

    def clear(self, done: Collection[Ref]) -> None:
        self.done = set(done)


def test_levels_are_written_down_raised_and_put_back() -> None:
    """In this order; other loggers are left alone."""
    proxies = Proxies(A, B)
    book, said = Book(proxies), list[str]()
    with raised([A, B], proxies, book.keep, said.append) as quiet:
        inside = {pod: dict(levels) for pod, levels in proxies.now.items()}
    three = {"connection", "conn_handler", "rbac"}
    assert {name for name, level in inside[A].items() if level == "debug"} == three
    assert ["kept", "a: debug", "b: debug", "a: info warning", "b: info warning"] == proxies.order
    assert {A: QUIET, B: QUIET} == proxies.now
    assert ({}, {A, B}, []) == (quiet.why, book.done, said)
    assert {"connection": "warning", "conn_handler": "info", "rbac": "warning"} == book.kept[A]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_they_are_put_back_when_the_work_breaks_off(error: type[BaseException]) -> None:
    """And the error goes on."""
    proxies = Proxies(A)

    def work() -> None:
        with raised([A], proxies, Book(proxies).keep, print):
            assert "debug" == proxies.now[A]["rbac"]
            raise error

    with pytest.raises(error):
        work()
    assert QUIET == proxies.now[A]


def test_one_proxy_that_cannot_be_asked_does_not_keep_the_others() -> None:
    """It is named with the reason, whether it does not tell its levels or does not change them."""
    proxies = Proxies(A, B, C)
    proxies.broken[A] = RolloutError("exec is forbidden")
    proxies.stubborn[B] = RolloutError("unknown logger name")
    book, said = Book(proxies), list[str]()
    with raised([A, B, C], proxies, book.keep, said.append) as quiet:
        assert "debug" == proxies.now[C]["rbac"]
    assert {A: "exec is forbidden", B: "unknown logger name"} == quiet.why
    assert ({B, C}, {B, C}) == (set(book.kept), set(book.done or ()))
    assert {B: QUIET, C: QUIET} == {pod: proxies.now[pod] for pod in (B, C)}
    assert [] == said


def test_what_is_loud_already_stays_loud() -> None:
    """Somebody wants it so; where all are, nothing is written or changed."""
    proxies = Proxies(A, B)
    proxies.now[A]["rbac"] = "trace"
    proxies.now[B].update(dict.fromkeys(("connection", "conn_handler", "rbac"), "debug"))
    book = Book(proxies)
    with raised([A, B], proxies, book.keep, print):
        pass
    assert {A} == book.kept.keys()
    assert ("trace", "debug") == (proxies.now[A]["rbac"], proxies.now[B]["rbac"])
    nobody = Book(proxies)
    with raised([B], proxies, nobody.keep, print):
        pass
    assert (None, {}) == (nobody.done, nobody.kept)


def test_nothing_is_raised_that_could_not_be_written_down() -> None:
    """The error of the book goes on."""
    proxies = Proxies(A)

    def full(levels: Levels) -> Book:
        raise RolloutError("no space left on device")

    with pytest.raises(RolloutError, match="no space left"), raised([A], proxies, full, print):
        pytest.fail("nobody comes here")
    assert (QUIET, []) == (proxies.now[A], proxies.order)


def test_what_is_not_put_back_is_said_with_its_command_and_stays_written_down() -> None:
    """The proxy broke in between."""
    proxies = Proxies(A, B)
    book, said = Book(proxies), list[str]()
    with raised([A, B], proxies, book.keep, said.append):
        proxies.broken[A] = RolloutError("the connection broke")
    assert {B} == book.done
    (text,) = said
    assert "the log levels of Pod production/a are not put back: the connection broke" in text
    assert (
        "kubectl exec -n production a -c istio-proxy -- pilot-agent request POST "
        "'logging?paths=conn_handler:info,connection:warning,rbac:warning'"
    ) in text


def test_a_pod_that_is_gone_needs_nothing_and_what_others_set_since_stays() -> None:
    """Only what is still as we left it goes back."""
    proxies = Proxies(A, B)
    proxies.broken[A] = NotFound('pods "a" not found')
    proxies.now[B] = {"connection": "debug", "conn_handler": "off", "rbac": "info"}
    before = dict.fromkeys(("connection", "conn_handler", "rbac"), "warning")
    assert {} == put_back({A: before, B: before}, proxies)
    assert {"connection": "warning", "conn_handler": "off", "rbac": "info"} == proxies.now[B]
