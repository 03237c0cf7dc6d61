"""What a good playbook becomes."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.errors import Outcome, UsageError
from rollout.playbook import loader
from rollout.playbook.arguments import duration
from rollout.playbook.play import Order, Playbook
from rollout.record.spec import Task

Book = Callable[..., Playbook]
Tasks = Callable[[Playbook], list[tuple[str, dict[str, Any]]]]
TASKS = "- tasks:\n"


def test_the_shipped_playbook_is_the_default(shipped_book: Playbook) -> None:
    """No path: the file that comes with the tool, in waves, with nothing waived."""
    assert shipped_book.name == "strict-mtls.yaml"
    assert shipped_book.title == "Take a namespace to STRICT mutual TLS"
    assert shipped_book.targets == ("production",)
    assert shipped_book.serial == (1, "25%", "100%")
    assert shipped_book.max_failures == 0
    assert shipped_book.order is Order.FEWEST_OFFENDERS
    assert (shipped_book.waivers, shipped_book.exemptions, shipped_book.warnings) == ((), (), ())
    assert shipped_book.sha == hashlib.sha256(shipped_book.path.read_bytes()).hexdigest()


def test_the_shipped_playbook_fills_every_state(shipped_book: Playbook) -> None:
    """Every check runs once, `all` are those that no other task names, durations are ISO 8601."""
    keywords = [task.keyword for task in shipped_book.tasks]
    assert keywords == [
        "verify",
        "verify",
        "permissive",
        "confirm_mtls",
        "check",
        "check",
        "check",
        "check",
        "strict",
        "watch",
    ]
    named = [check for task in shipped_book.tasks for check in task.args.get("checks", [])]
    assert named == ["injection", "proxies-in-sync", "destination-rules", "probes", "istioctl-analyze", "jobs"]
    look_back = shipped_book.tasks[3].args["look_back"]
    assert msgspec.convert(look_back, timedelta) == timedelta(days=8)


def test_the_installed_package_is_looked_at_before_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel carries the playbook in playbook/shipped; without both places it is a sentence, no traceback."""
    assert loader.shipped().is_file()  # first under its own name, or coverage would know the module by the other one
    package = tmp_path / "rollout" / "playbook"
    (package / "shipped").mkdir(parents=True)
    (package / "shipped" / "strict-mtls.yaml").write_text("x")
    monkeypatch.setattr(loader, "__file__", str(package / "loader.py"))
    assert loader.shipped() == (package / "shipped" / "strict-mtls.yaml").resolve()
    (package / "shipped" / "strict-mtls.yaml").unlink()
    with pytest.raises(UsageError, match="default playbook"):
        loader.shipped()


def test_the_command_line_wins_over_the_playbooks_variables(book: Book, tasks_of: Tasks) -> None:
    """Two levels; what is typed on the command line has YAML's types."""
    text = "- vars: {look_back: 8d, sure: false}\n  tasks:\n    - confirm_mtls: {look_back: '{{ look_back }}'}\n"
    text += "    - strict:\n      when: sure\n"
    assert ("confirm_mtls", {"look_back": "P14D"}) in tasks_of(book(text, look_back="2w"))
    assert "strict" not in [task.keyword for task in book(text).tasks]
    assert "strict" in [task.keyword for task in book(text, sure="true").tasks]


def test_yaml_reads_as_people_do(book: Book) -> None:
    """YAML 1.1's traps stay text: on, no, 12:30, 0777, dates."""
    loaded = book(
        "- vars: {a: on, b: no, c: 12:30, d: 0777, e: 2026-01-01, f: 1.5, g: true, h: ~, i: 7}\n  tasks: []\n"
    )
    expected = {
        "a": "on",
        "b": "no",
        "c": "12:30",
        "d": "0777",
        "e": "2026-01-01",
        "f": 1.5,
        "g": True,
        "h": None,
        "i": 7,
    }
    assert dict(loaded.variables) == expected


@pytest.mark.parametrize(
    ("targets", "given", "expected", "selector"),
    [
        ("'{{ namespaces }}'", "a,b c", ("a", "b", "c"), ""),
        ("'{{ namespaces }}'", "true", ("true",), ""),
        ("'{{ namespaces }}'", "123", ("123",), ""),
        ("'{{ namespaces }}'", "team=pay,env!=dev", ("team=pay,env!=dev",), "team=pay,env!=dev"),
        ("[on, 'team-*', on]", "", ("on", "team-*"), ""),
        ("'env in (a, b)'", "", ("env in (a, b)",), "env in (a, b)"),
    ],
)
def test_targets_are_names_globs_or_a_selector(
    book: Book, targets: str, given: str, expected: tuple[str, ...], selector: str
) -> None:
    """A namespace may be called true, on or 123."""
    loaded = book(f"- targets: {targets}\n  tasks: []\n", namespaces=given)
    assert loaded.targets == expected
    assert loaded.selector == selector


def test_without_targets_the_command_line_names_the_namespaces(book: Book) -> None:
    """The key may be left out."""
    assert book("- tasks: []\n", namespaces="a,b").targets == ("a", "b")


def test_what_no_task_names_runs_all_the_same_but_never_strict(book: Book, tasks_of: Tasks) -> None:
    """Without `strict` the run ends before the flip, and so has nothing to watch."""
    assert tasks_of(book("- tasks: []\n")) == [
        ("verify", {"checks": ["injection", "proxies-in-sync"]}),
        ("permissive", {}),
        ("confirm_mtls", {"look_back": "P8D"}),
        ("check", {"checks": ["destination-rules", "probes", "istioctl-analyze", "jobs"]}),
    ]
    keywords = [keyword for keyword, _ in tasks_of(book("- tasks:\n    - strict:\n"))]
    assert keywords == ["verify", "permissive", "confirm_mtls", "check", "strict", "watch"]


def test_implicit_tasks_have_line_zero(book: Book) -> None:
    """Written ones say where they stand."""
    assert {task.keyword: task.line for task in book("- tasks:\n    - strict:\n").tasks} == {
        "verify": 0, "permissive": 0, "confirm_mtls": 0, "check": 0, "strict": 2, "watch": 0,
    }  # fmt: skip


def test_a_false_when_skips_no_check(book: Book, tasks_of: Tasks) -> None:
    """The check runs in the implicit task: `when` may word and group, not loosen."""
    text = "- tasks:\n    - check: [probes]\n      when: false\n    - check: [jobs]\n      when: [true, '1 < 2']\n"
    checks = [args["checks"] for keyword, args in tasks_of(book(text)) if keyword == "check"]
    assert checks == [["jobs"], ["destination-rules", "probes", "istioctl-analyze"]]


def test_a_false_when_on_strict_ends_the_run_before_the_flip(book: Book, tasks_of: Tasks) -> None:
    """The watch goes with it."""
    text = "- tasks:\n    - strict:\n      when: 1 > 2\n    - watch: {for: 1h30m}\n"
    assert [keyword for keyword, _ in tasks_of(book(text))] == ["verify", "permissive", "confirm_mtls", "check"]


def test_two_branches_of_a_when_may_name_the_same(book: Book, tasks_of: Tasks) -> None:
    """Only tasks that run can repeat each other."""
    text = "- vars: {slow: true}\n  tasks:\n    - strict:\n    - watch: {for: 2h}\n      when: slow\n"
    text += "    - watch: {for: 10m}\n      when: not slow\n"
    watches = [args["for"] for keyword, args in tasks_of(book(text)) if keyword == "watch"]
    assert watches == ["PT7200S"]


def test_an_approval_stands_right_before_the_task_that_follows_it(book: Book, tasks_of: Tasks) -> None:
    """Implicit tasks come first, so that a human sees their results."""
    text = "- tasks:\n    - verify: all\n    - name: ask ana\n      approve: {reason: tonight}\n"
    text += "    - strict:\n    - approve:\n"
    words = tasks_of(book(text))
    assert [keyword for keyword, _ in words] == [
        "verify", "permissive", "confirm_mtls", "check", "approve", "strict", "approve", "watch",
    ]  # fmt: skip
    assert words[4] == ("approve", {"reason": "tonight"})


def test_defaults_are_resolved_so_that_resume_needs_no_newer_ones(book: Book, tasks_of: Tasks) -> None:
    """Every argument of the stage is in the task."""
    watch = dict(tasks_of(book("- tasks:\n    - strict:\n    - watch: {deadline: 90s, samples: 3}\n")))["watch"]
    assert watch == {
        "for": "PT1800S",
        "on_blind": "hold",
        "on_regression": "roll_back",
        "samples": 3,
        "deadline": "PT90S",
    }


def test_waivers_and_exemptions(book: Book) -> None:
    """A date lasts until its end; a rate may be given per day; an unknown check is a warning."""
    text = """- tasks: []
  waive:
    - {check: plaintext-callers, object: "* -> a/b", reason: soon, owner: ana, expires: 2026-05-31, max_rate: 864/d}
    - {check: probess, object: "*", reason: r, owner: o, expires: "2026-05-31T10:00:00+02:00"}
  exempt:
    - {object: PeerAuthentication shop/legacy, reason: r, owner: o, expires: 2026-05-31}
"""
    loaded = book(text)
    first, second = loaded.waivers
    assert (first.expires, first.max_rate) == (datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC), 0.01)
    assert second.expires == datetime(2026, 5, 31, 8, tzinfo=UTC)
    assert loaded.warnings == ("book.yaml:4: there is no check `probess` to waive; did you mean `probes`?",)
    assert loaded.exemptions[0].object == "PeerAuthentication shop/legacy"


def test_expressions_keep_their_types(book: Book) -> None:
    """One expression is a value; text around it makes text; lists go through."""
    text = "- vars: {n: 2, twice: '{{ n * 2 }}', both: 'x{{ n }}', all: ['{{ n }}', b]}\n  tasks: []\n"
    variables = book(text).variables
    assert (variables["twice"], variables["both"], variables["all"]) == (4, "x2", [2, "b"])


def test_lists_of_checks_have_a_long_form(book: Book, tasks_of: Tasks) -> None:
    """For a stage that takes more than the list; a single check needs no brackets."""
    text = "- tasks:\n    - verify: {checks: all}\n    - check: {checks: [probes]}\n    - check: jobs\n"
    checks = [args["checks"] for _, args in tasks_of(book(text)) if "checks" in args]
    assert checks == [
        ["injection", "proxies-in-sync"],
        ["probes"],
        ["jobs"],
        ["destination-rules", "istioctl-analyze"],
    ]


def test_lists_may_come_from_variables(book: Book, tasks_of: Tasks) -> None:
    """An expression gives a list as well."""
    text = "- vars: {ours: [probes, jobs], m: {a: 1}}\n  tasks:\n    - check: '{{ ours }}'\n      when: m.a == 1\n"
    checks = [args["checks"] for keyword, args in tasks_of(book(text)) if keyword == "check"]
    assert checks == [["probes", "jobs"], ["destination-rules", "istioctl-analyze"]]


def test_a_variable_may_be_named_like_a_parameter_of_python(book: Book) -> None:
    """Names never become keyword arguments."""
    assert book("- vars: {args: 1, kwargs: '{{ args + 1 }}'}\n  tasks: []\n").variables["kwargs"] == 2


def test_a_plays_list_may_be_left_out(book: Book) -> None:
    """A mapping alone is a play; a byte-order mark and Windows' line ends do no harm."""
    assert [t.keyword for t in book("\ufeffname: x\r\ntasks:\r\n  - strict:\r\n").tasks][-2:] == ["strict", "watch"]


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, book: Book) -> None:
    """Missing, a folder, not UTF-8, too big for the record."""
    args: dict[str, Any] = {"keywords": {}, "checks": {}, "variables": {}}
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UsageError) as caught:
            loader.load(path, **args)
        assert caught.value.outcome is Outcome.USAGE
    (tmp_path / "latin.yaml").write_bytes(b"- name: x\n  tasks: []\n# caf\xe9\n")
    with pytest.raises(UsageError, match="not UTF-8") as caught:
        loader.load(tmp_path / "latin.yaml", **args)
    assert caught.value.where.endswith("latin.yaml:3")
    with pytest.raises(UsageError, match="bytes"):
        book("#" * 70_000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("30m", 1800), ("1h30m", 5400), ("8d", 691200), ("2w", 1209600), ("PT5M", 300), ("0s", 0)],
)
def test_durations(text: str, seconds: int) -> None:
    """As people write them, or ISO 8601."""
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "30", "m", "1m1h", "-5m", "5 m", "1.5h", "Pfoo", "٣m5"])
def test_what_is_no_duration(text: str) -> None:
    """No unit, no sense, or a unit twice."""
    assert duration(text) is None


def test_tasks_are_the_records_own_type(shipped_book: Playbook) -> None:
    """They go into the spec as they are, through JSON and back."""
    wire = msgspec.json.encode(shipped_book.tasks)
    assert msgspec.json.decode(wire, type=tuple[Task, ...]) == shipped_book.tasks
