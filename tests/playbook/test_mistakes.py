"""Every mistake of a playbook has its place, its sentence and its hint."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.errors import Outcome, UsageError
from rollout.playbook.errors import PlaybookErrors
from rollout.playbook.loader import load
from rollout.playbook.play import Playbook
from rollout.playbook.words import ANSIBLE

Mistakes = Callable[..., list[tuple[int, int, str, str]]]
T = "- tasks:\n"
E = "- tasks: []\n  exempt:\n    - {reason: r, owner: o, expires: 2026-03-31, "
W = "- tasks: []\n  waive:\n    - {check: probes, object: a, reason: r, owner: o, expires: "


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("", 1, 1, "an empty playbook", "a list with one play"),
        ("[]", 1, 1, "a playbook has one play, this one has 0", "one play a file"),
        ("- tasks: []\n- tasks: []\n", 2, 3, "has one play, this one has 2", "one play a file"),
        ("text", 1, 1, "a playbook is a list", ""),
        ("- text", 1, 3, "a play is a mapping", ""),
        ("- name: x\n", 1, 1, "a play needs `tasks:`", "strict"),
        ("- taks: []\n  tasks: []\n", 1, 3, "a play has no key `taks`", "did you mean `tasks`?"),
        ("- tasks: []\n  tasks: []\n", 2, 3, "`tasks` stands here twice, first in line 1", ""),
        ("- tasks: {}\n", 1, 10, "`tasks:` is a list", ""),
        ("- tasks: [\n", 2, 1, "while parsing", ""),
        ("- tasks:\n\t- strict:\n", 2, 1, "a tab", ""),
        ("- tasks: []\n---\n- tasks: []\n", 2, 1, "one playbook is one YAML document", ""),
        ("- vars: {a: &x 1, b: *x}\n  tasks: []\n", 1, 22, "aliases are not supported", ""),
        ("- vars: {a: !vault x}\n  tasks: []\n", 1, 13, "the tag !vault is not supported", ""),
        ("- vars: {a: !!python/name:os.system x}\n  tasks: []\n", 1, 13, "is not supported", ""),
        ("- vars: {[a]: 1}\n  tasks: []\n", 1, 10, "a key is a plain word", "quotes"),
        ("- vars: {a-b: 1}\n  tasks: []\n", 1, 10, "`a-b` is no name for a variable", "letters"),
        ("- vars: {a: '{{ m }}', m: 1}\n  tasks: []\n", 1, 13, "'m' is undefined", ""),
        ("- name: '{{ [].append }}'\n  tasks: []\n", 1, 9, "", ""),
        ("- name: \"{{ 'x'.upper }}\"\n  tasks: []\n", 1, 9, "not a plain value", ""),
        ("- tasks:\n    - check: {cheks: all}\n", 2, 15, "check has no key `cheks`", "`checks`"),
        ("- vars: {self: 1}\n  tasks: []\n", 1, 10, "`self` is no name for a variable", "Jinja2"),
        ("- vars: [a]\n  tasks: []\n", 1, 9, "`vars:` is a mapping", ""),
        ("- vars: {a: '{{ b }}', b: 1}\n  tasks: []\n", 1, 13, "'b' is undefined", ""),
        (
            "- vars: {look_back: 1}\n  name: '{{ lookback }}'\n  tasks: []\n",
            2,
            9,
            "'lookback' is undefined",
            "`look_back`",
        ),
        ("- name: '{% if x %}'\n  tasks: []\n", 1, 9, "statements", "expressions"),
        ("- name: '{# x #}'\n  tasks: []\n", 1, 9, "comments", "begin with #"),
        ("- name: '{{ 1 + }}'\n  tasks: []\n", 1, 9, "not an expression", ""),
        ("- name: '{{ }}'\n  tasks: []\n", 1, 9, "not an expression", ""),
        ("- name: '{{ 1 / 0 }}'\n  tasks: []\n", 1, 9, "cannot be computed", ""),
        ("- name: '{{ \"\".__class__ }}'\n  tasks: []\n", 1, 9, "unsafe", ""),
        ("- name: '{{ namespace }}'\n  tasks: []\n", 1, 9, "'namespace' is undefined", ""),
        ("- name: [a]\n  tasks: []\n", 1, 9, "name is a text", ""),
        ("- serial: 0\n  tasks: []\n", 1, 11, "a wave cannot be `0`", "a whole number from 1"),
        ("- serial: [1, 0%]\n  tasks: []\n", 1, 15, "a wave cannot be `0%`", ""),
        ("- serial: 101%\n  tasks: []\n", 1, 11, "a wave cannot be `101%`", ""),
        ("- serial: [true]\n  tasks: []\n", 1, 12, "a wave cannot be `True`", ""),
        ("- serial: []\n  tasks: []\n", 1, 11, "names no wave", ""),
        ("- max_failures: -1\n  tasks: []\n", 1, 17, "max_failures cannot be `-1`", "from 0"),
        ("- max_failures: many\n  tasks: []\n", 1, 17, "max_failures cannot be `many`", ""),
        ("- order: names\n  tasks: []\n", 1, 10, "order cannot be `names`", "did you mean `name`?"),
        ("- require_guard: yes\n  tasks: []\n", 1, 18, "require_guard cannot be `yes`", "true or false"),
        ("- targets: [a, 5]\n  tasks: []\n", 1, 12, "`5` is no namespace", "quotes"),
        ("- targets: Prod\n  tasks: []\n", 1, 12, "`Prod` is no name or glob", ""),
        ("- targets: [a, team=b]\n  tasks: []\n", 1, 12, "not both", ""),
        (T + "    - strct:\n", 2, 7, "a task has no key `strct`", "did you mean `strict`?"),
        (T + "    - confirm-mtls:\n", 2, 7, "a task has no key `confirm-mtls`", "`confirm_mtls`"),
        (T + "    - name: x\n", 2, 7, "a task needs one keyword", "verify, permissive"),
        (T + "    - strict:\n      watch:\n", 3, 7, "a task has one keyword", ""),
        (T + "    - text\n", 2, 7, "a task is a mapping", ""),
        (T + "    - watch:\n    - strict:\n", 3, 7, "`strict` cannot come after `watch` (line 2)", "the order is"),
        (T + "    - strict:\n    - strict:\n", 3, 7, "`strict` stands in line 2 already", ""),
        (T + "    - check: [probs]\n", 2, 15, "there is no check `probs`", "did you mean `probes`?"),
        (T + "    - check: [5]\n", 2, 15, "there is no check `5`", ""),
        (T + "    - check:\n", 2, 13, "`check:` names no check", "`check: all`"),
        (T + "    - check: []\n", 2, 14, "`check:` names no check", ""),
        (T + "    - check: [injection]\n", 2, 15, "belongs to `verify`, not to `check`", "under `verify:`"),
        (T + "    - check: [effective-mode]\n", 2, 15, "belongs to `permissive`", "by itself"),
        (T + "    - check: [probes]\n    - check: [probes]\n", 3, 15, "`check: probes` stands in line 2", ""),
        (T + "    - check: all\n    - check: all\n", 3, 14, "`check: all` stands in line 2", ""),
        (T + "    - permissive: {a: 1}\n", 2, 19, "permissive takes no arguments", ""),
        (T + "    - watch: 30m\n", 2, 14, "watch is a mapping", ""),
        (T + "    - watch: {fro: 30m}\n", 2, 15, "watch has no key `fro`", "did you mean `for`?"),
        (T + "    - watch: {for: 30}\n", 2, 20, "watch.for cannot be `30`: expected a duration", "30m"),
        (T + "    - watch: {for: soon}\n", 2, 20, "watch.for cannot be `soon`: expected a duration", ""),
        (T + "    - watch: {for: 99999999999999999999m}\n", 2, 20, "watch.for cannot be", ""),
        (T + "    - watch: {on_blind: rollback}\n", 2, 25, "watch.on_blind cannot be", "did you mean `roll_back`?"),
        (T + "    - watch: {samples: two}\n", 2, 24, "watch.samples cannot be `two`: expected a whole number", ""),
        (T + "    - watch: {samples: 0}\n", 2, 24, "watch.samples cannot be `0`", ""),
        (T + "    - watch: {for: 0m}\n", 2, 20, "watch.for cannot be `0m`", "at least 1m"),
        (T + "    - watch: {for: 59s}\n", 2, 20, "watch.for cannot be `59s`", "at least 1m"),
        (T + "    - watch: {deadline: -P1D}\n", 2, 25, "watch.deadline cannot be `-P1D`", ""),
        (T + "    - watch: {for: '{{ x }}'}\n", 2, 20, "'x' is undefined", ""),
        (T + "    - approve: {raison: x}\n    - strict:\n", 2, 17, "approve has no key `raison`", "`reason`"),
        (T + "    - approve:\n", 2, 7, "`approve` stands between two tasks", ""),
        (T + "    - strict:\n    - watch:\n    - approve:\n", 4, 7, "not after the last one", ""),
        (T + "    - approve:\n    - verify: all\n", 2, 7, "not before the first one", ""),
        (
            T + "    - approve:\n    - approve:\n    - strict:\n",
            3,
            7,
            "`approve: approve` stands in line 2",
            "own `name:`",
        ),
        (T + "    - strict:\n      when: '{{ a }}'\n", 3, 13, "is an expression already", "without"),
        (T + "    - strict:\n      when: nope\n", 3, 13, "'nope' is undefined", ""),
        (T + "    - strict:\n      when: \"'no'\"\n", 3, 13, "`when:` gives `no`, not true or false", "compare"),
        (T + "    - strict:\n      when: {a: b}\n", 3, 13, "`when:` is an expression", ""),
        (T + "    - strict:\n      when: 1 <\n", 3, 13, "not an expression", ""),
        ("- tasks: []\n  waive: {}\n", 2, 10, "`waive:` is a list", ""),
        (
            "- tasks: []\n  waive:\n    - {check: probes}\n",
            3,
            7,
            "a waiver needs `object`, `reason`, `owner`, `expires`",
            "",
        ),
        (W + "soon}\n", 3, 64, "expires cannot be `soon`", "2026-03-31"),
        (W + "2026-02-30}\n", 3, 64, "expires cannot be `2026-02-30`", ""),
        (W + "'2026-03-31T10:00:00'}\n", 3, 64, "expires cannot be", ""),
        (W + "2026-03-31, max_rate: lots}\n", 3, 86, "max_rate cannot be `lots`", "14/d"),
        ("- tasks: []\n  exempt:\n    - {object: a}\n", 3, 7, "an exemption needs `reason`, `owner`, `expires`", ""),
        ("- tasks: []\n  exempt:\n    - {workload: a}\n", 3, 7, "an exemption needs `port`, `reason`, `owner`", ""),
        ("- tasks: []\n  exempt:\n    - {workloads: a}\n", 3, 8, "an exemption has no key `workloads`", ""),
        (E + "workload: orders, port: 80}\n", 3, 60, "`orders` is no workload", "NAMESPACE/NAME"),
        (E + "workload: a/b, port: http}\n", 3, 71, "a port cannot be `http`", "1 to 65535"),
        (E + "workload: a/b, port: 80, object: x}\n", 3, 7, "an `object`, or a `workload` and its `port`", ""),
    ],
)
def test_a_mistake_has_its_place_and_its_hint(
    mistakes: Mistakes, text: str, line: int, column: int, message: str, hint: str
) -> None:
    """The first one in the file is the one that was made."""
    found = mistakes(text)
    assert [(f[0], f[1]) for f in found if message in f[2] and hint in f[3]] == [(line, column)], found


@pytest.mark.parametrize("word", sorted(ANSIBLE))
def test_ansibles_keywords_are_refused_with_what_to_do_instead(mistakes: Mistakes, word: str) -> None:
    """On a play and on a task."""
    assert mistakes(f"- tasks: []\n  {word}: x\n") == [(2, 3, f"a play has no key `{word}`", ANSIBLE[word])]
    assert mistakes(f"- tasks:\n    - strict:\n      {word}: x\n") == [
        (3, 7, f"a task has no key `{word}`", ANSIBLE[word])
    ]


def test_all_mistakes_come_at_once_with_their_source_lines(book: Callable[..., Playbook], tmp_path: Path) -> None:
    """One look at the screen is enough."""
    text = "- hosts: all\n  serial: 0\n  tasks:\n    - check: [probs]\n    - verify: all\n"
    with pytest.raises(PlaybookErrors) as caught:
        book(text)
    path = tmp_path / "book.yaml"
    assert caught.value.lines() == [
        f"{path}:1:3: a play has no key `hosts`",
        "    - hosts: all",
        "      ^",
        "    write `targets:` (names, globs or a label selector of namespaces)",
        f"{path}:2:11: a wave cannot be `0`",
        "      serial: 0",
        "              ^",
        '    a whole number from 1, or "1%" to "100%"',
        f"{path}:4:15: there is no check `probs`",
        "        - check: [probs]",
        "                  ^",
        "    did you mean `probes`?",
        f"{path}:5:7: `verify` cannot come after `check` (line 4)",
        "        - verify: all",
        "          ^",
        "    the order is verify, permissive, confirm_mtls, check, strict, watch; `approve` between any two",
        f"4 errors in playbook {path}; nothing was read from or written to the cluster",
    ]
    assert caught.value.outcome is Outcome.USAGE


def test_a_misspelt_variable_of_the_command_line_is_found(mistakes: Mistakes) -> None:
    """It would change nothing, and nobody would know."""
    text = "- vars: {watch_for: 30m}\n  tasks: []\n"
    assert mistakes(text, wach_for="5m") == [
        (1, 9, "nothing uses the variable `wach_for` of the command line", "did you mean `watch_for`?")
    ]


def test_a_required_argument_is_missed_beside_every_other_mistake(tmp_path: Path) -> None:
    """At the task that lacks it; where the task itself is missing, at `tasks:`."""

    class Needs(msgspec.Struct, frozen=True):
        window: int

    path = tmp_path / "book.yaml"
    for text, places in (
        ("- serial: 0\n  tasks:\n    - strict: {}\n", {(1, 11), (3, 7)}),
        ("- tasks:\n    - strict: {window: x}\n", {(2, 24)}),
    ):
        path.write_text(text)
        with pytest.raises(PlaybookErrors) as caught:
            load(path, keywords={"strict": Needs}, checks={}, variables={}, order=("strict",))
        assert {(p.line, p.column) for p in caught.value.problems} == places
    path.write_text("- tasks: []\n")
    with pytest.raises(PlaybookErrors, match="`watch`: object missing required field"):
        load(path, keywords={"watch": Needs}, checks={}, variables={}, order=("watch",))


def test_deep_nesting_is_a_mistake_and_no_crash(mistakes: Mistakes) -> None:
    """PyYAML composes recursively."""
    assert "nested too deeply" in mistakes("[" * 20_000)[0][2]


def test_a_control_character_has_its_place(mistakes: Mistakes) -> None:
    """PyYAML's reader knows an offset only."""
    assert mistakes("- name: x\n  tasks: \x07[]\n") == [(2, 10, "a character that YAML does not allow", "")]


def test_an_entry_that_expired_is_a_mistake(tmp_path: Path) -> None:
    """At its place, and only from its end on: somebody is to decide again, or to take it out."""
    path = tmp_path / "book.yaml"
    path.write_text(W + "2026-03-31}\n", encoding="utf-8")
    last = datetime(2026, 3, 31, 23, 59, 58, tzinfo=UTC)
    loaded = load(path, keywords={}, checks={"probes": "check"}, variables={}, now=last)
    assert [last + timedelta(seconds=1)] == [waiver.expires for waiver in loaded.waivers]
    with pytest.raises(PlaybookErrors) as caught:
        load(path, keywords={}, checks={"probes": "check"}, variables={}, now=last + timedelta(seconds=1))
    assert [(3, 64, "it expired, 2026-03-31 23:59 UTC", "a date to come, or take the entry out")] == [
        (p.line, p.column, p.message, p.hint) for p in caught.value.problems
    ]


_words = st.sampled_from(
    ["name", "tasks", "vars", "when", "strict", "watch", "check", "verify", "approve", "waive", "serial", "all", "for",
     "{{ a }}", "{{ ", "}}", "{%", "30m", "1.5", "~", "*x", "&x", "!!int", "true", "probes", "0x1", "targets", "exempt",
     "- ", ": ", "\n", "  ", "    ", "[", "]", "{", "}", ",", "'", '"', "#", "|", ">", "?", "%", "\t", "\x85", "é"]
)  # fmt: skip
_texts = st.one_of(st.text(max_size=80), st.lists(_words, max_size=40).map("".join))
_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_texts)
def test_any_text_loads_or_is_a_usage_error(book: Callable[..., Playbook], text: str) -> None:
    """Never a traceback."""
    with contextlib.suppress(UsageError):
        book(text.encode("utf-8", "replace").decode(), a="1")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(play=st.dictionaries(_words, _plain, max_size=5), task=st.dictionaries(_words, _plain, max_size=4))
def test_any_structure_loads_or_is_a_usage_error(book: Callable[..., Playbook], play: object, task: object) -> None:
    """JSON is YAML: shapes that nobody thought of."""
    with contextlib.suppress(UsageError):
        book(json.dumps([{"tasks": [task], **(play if isinstance(play, dict) else {})}]), a="1")
