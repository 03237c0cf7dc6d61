"""A value whose expression is broken is one mistake: what would have read it adds none of its own."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from rollout.playbook.errors import Problem
from rollout.playbook.play import Order, Playbook
from rollout.playbook.template import Unresolved, resolve

Mistakes = Callable[..., list[tuple[int, int, str, str]]]
WAIVE = "waive: [{{check: probes, object: a, reason: r, owner: o, expires: {expires}, max_rate: {rate}}}]"
EXEMPT = "exempt: [{{workload: a/b, port: {port}, reason: r, owner: o, expires: 2026-03-31}}]"
BROKEN = "'{{ nowhere }}'"


@pytest.mark.parametrize(
    "play",
    [
        f"targets: {BROKEN}",
        f"serial: {BROKEN}",
        f"serial: [1, {BROKEN}]",
        f"max_failures: {BROKEN}",
        f"order: {BROKEN}",
        f"require_guard: {BROKEN}",
        WAIVE.format(expires=BROKEN, rate=1),
        WAIVE.format(expires="2026-03-31", rate=BROKEN),
        EXEMPT.format(port=BROKEN),
    ],
)
def test_a_broken_expression_is_said_once(mistakes: Mistakes, play: str) -> None:
    """Its own sentence, and nothing about a value that nobody wrote."""
    assert [message for _, _, message, _ in mistakes(f"- tasks: []\n  {play}\n")] == ["'nowhere' is undefined"]


def test_a_broken_list_of_checks_is_said_once(mistakes: Mistakes) -> None:
    """As everywhere else."""
    assert mistakes(f"- tasks:\n    - check: {BROKEN}\n") == [(2, 14, "'nowhere' is undefined", "")]


def test_an_exemption_that_is_a_text_is_a_mistake(mistakes: Mistakes) -> None:
    """It names neither an object nor a port."""
    assert mistakes("- tasks: []\n  exempt: [orders]\n") == [(2, 12, "an exemption is a mapping of keys to values", "")]


def test_order_and_rate_are_taken_as_they_are_written(book: Callable[..., Playbook]) -> None:
    """A plain number is a rate per second."""
    play = WAIVE.format(expires="2026-03-31", rate=0.5)
    loaded = book(f"- tasks: []\n  order: {Order.FEWEST_OFFENDERS}\n  {play}\n")
    assert (loaded.order, loaded.waivers[0].max_rate) == (Order.FEWEST_OFFENDERS, 0.5)
    assert loaded.waivers[0].expires == datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(("tag", "text"), [("int", "many"), ("bool", "maybe"), ("float", "1,5")])
def test_a_tag_that_the_text_does_not_fit_is_a_mistake(mistakes: Mistakes, tag: str, text: str) -> None:
    """`!!int many` is no number, and no text either."""
    found = mistakes(f"- tasks: []\n  max_failures: !!{tag} '{text}'\n")
    assert (2, 17, f"`{text}` is no {tag}", "") in found


@pytest.mark.parametrize("text", ["- vars: {}\n  tasks: []\n", "- tasks: []\n"])
def test_a_variable_that_nothing_uses_and_nothing_resembles_is_no_mistake(
    book: Callable[..., Playbook], text: str
) -> None:
    """A pipeline may give the same variables to every playbook."""
    assert book(text, region="eu1").variables["region"] == "eu1"


def test_a_mapping_is_a_plain_value() -> None:
    """Its keys are texts."""
    assert resolve("{{ {'a': [1, x], 2: none} }}", {"x": "y"}) == {"a": [1, "y"], "2": None}


def test_an_expression_that_python_cannot_compile_is_too_complicated() -> None:
    """Its parser stops at 200 brackets; Jinja2 has no bound of its own."""
    with pytest.raises(Unresolved, match="is too complicated"):
        resolve("{{ " + "not " * 205 + "x }}", {"x": True})


def test_a_mistake_without_a_source_line_or_a_hint_is_one_line() -> None:
    """As that of an empty file."""
    assert Problem(1, 1, "an empty playbook").lines("b.yaml") == ["b.yaml:1:1: an empty playbook"]
