"""What is tried again, how often, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollout.adapters.retry import retrying
from rollout.errors import Forbidden, MetricsUnreachable, Overloaded, Unreachable


def failing(*errors: BaseException) -> Callable[[], str]:
    """Raise these, one a call, then answer."""
    left = list(errors)

    def ask() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return ask


def overloaded(seconds: float) -> Overloaded:
    error = Overloaded("busy")
    error.retry_after = seconds
    return error


def test_no_answer_is_tried_again_twice() -> None:
    """The last error comes out as it is."""
    slept: list[float] = []
    assert retrying(slept.append)(failing(Unreachable("a"), MetricsUnreachable("b"))) == "answer"
    assert slept == [0.25, 0.5]
    with pytest.raises(Unreachable, match="c"):
        retrying(slept.append)(failing(Unreachable("a"), Unreachable("b"), Unreachable("c")))


def test_the_servers_wait_is_kept_while_it_fits() -> None:
    """Within five seconds in all, also under a clock that the real one does not follow."""
    slept: list[float] = []
    assert retrying(slept.append)(failing(overloaded(2), overloaded(1))) == "answer"
    assert slept == [2, 1]
    with pytest.raises(Overloaded):
        retrying(slept.append)(failing(overloaded(3), overloaded(3)))
    assert slept == [2, 1, 3]


@pytest.mark.parametrize("error", [Forbidden("no"), ValueError("bug"), KeyboardInterrupt()])
def test_everything_else_comes_out_at_once(error: BaseException) -> None:
    """A refusal does not heal, and a stop is not swallowed."""
    with pytest.raises(type(error)):
        retrying(lambda _: pytest.fail("slept"))(failing(error))


def test_a_sleep_that_is_broken_off_ends_the_tries() -> None:
    """As a stop does it."""

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrying(stop)(failing(Unreachable("a")))
