"""The block of a terminal: one run in two lines, several in one line each."""

from datetime import datetime, timedelta

import msgspec
import pytest

from rollout.errors import Outcome
from rollout.model.judgement import Signal, Verdict
from rollout.model.traffic import Sight
from rollout.record.events import Checked, Fact, Moved, Noted, Ticked
from rollout.record.run import Run, Watch
from rollout.record.state import State
from rollout.report.layout import Style, width_of
from rollout.report.status import status
from rollout.report.tree import Shown, block, minor

Story = list[tuple[Run | None, Run, Fact]]
EDGE = "web/shop -> production/orders (http)"


@pytest.fixture
def watching(story: Story) -> Run:
    """Four minutes into its watch."""
    return story[13][1]


def tick(now: datetime, *, failed: str = "0.2%", breached: bool = False) -> Ticked:
    """A sample on which one edge was judged."""
    signals = (
        Signal(name="edge-survival", where=EDGE, measured="20 tried, 20 arrived", limit="1", verdict=Verdict.HEALTHY),
        Signal(name="edge-errors", where=EDGE, measured=f"{failed} of 100 failed at the source",
               limit="3.0%, and 10 failures", verdict=Verdict.HEALTHY, breached=breached),
        Signal(name="silence", where="a -> b (http)", measured="quiet", limit="-", verdict=Verdict.HEALTHY),
    )  # fmt: skip
    return Ticked(t=now, due=now, verdict=Verdict.HEALTHY, signals=signals, sight=Sight(("a", "b"), ("a", "b")))


def named(run: Run, name: str, **fields: object) -> Run:
    """The same run in another namespace."""
    changes = {"spec": msgspec.structs.replace(run.spec, namespace=name, run=f"{name}-1"), **fields}
    return msgspec.structs.replace(run, **changes)


def test_one_run_is_watched_in_two_lines(watching: Run, now: datetime) -> None:
    """Sight with a bar, samples, edges; proxies, errors against their limit."""
    assert [
        "watching    █░░░░░░░░░ healthy 4m/30m of sight · 8/60 samples · edges 1/1",
        "            proxies 2/2 · errors at callers 0.2% (limit 3.0%)",
    ] == block([Shown(watching, tick(now))], now, Style(), height=10)


def test_what_is_not_known_is_left_out(watching: Run, now: datetime) -> None:
    """Before the first sample, and where too few calls were made."""
    assert [
        "watching    █░░░░░░░░░ healthy 4m/30m of sight · 8/60 samples",
        "            waiting for the first sample",
    ] == block([Shown(watching)], now, Style(), height=10)
    quiet = msgspec.structs.replace(tick(now), signals=())
    assert [
        "watching    █░░░░░░░░░ healthy 4m/30m of sight · 8/60 samples · edges 0/1",
        "            proxies 2/2 · errors: not judged on this sample",
    ] == block([Shown(watching, quiet)], now, Style(), height=10)


def test_trouble_comes_before_the_errors(watching: Run, now: datetime) -> None:
    """What is over its limit, and how long nobody has seen."""
    watch = msgspec.structs.replace(watching.watch, blind=now, breached=("x",), verdict=Verdict.CANNOT_SEE)
    run = msgspec.structs.replace(watching, watch=watch)
    later = now + timedelta(minutes=4)
    shown = Shown(run, tick(now, failed="9.0%", breached=True))
    over = f"edge-errors 9.0% of 100 failed at the source (limit 3.0%, and 10 failures) at {EDGE}"
    assert [
        "watching    █░░░░░░░░░ cannot see 4m/30m of sight · 8/60 samples · edges 0/1",
        f"            proxies 2/2 · blind 4m/30m, then back · {over} · errors at callers 9% (limit 3.0%)",
    ] == block([shown], later, Style(width=240), height=10)


def test_another_state_is_one_line(blocked: Run, now: datetime) -> None:
    """What for, elapsed and limit, and why."""
    run = msgspec.structs.replace(blocked, outcome="", entered=now, state=State.ROLLING_BACK)
    lines = block([Shown(run, None, "3/12 proxies")], now + timedelta(seconds=90), Style(), height=10)
    assert ["rolling_back waiting for the proxies' proof of the way back 1m30s/10m · 3/12 p…"] == lines


@pytest.fixture
def batch(watching: Run, rolled_back: Run, now: datetime) -> list[Shown]:
    """Six namespaces: taken back, held, over a limit, two healthy, enforced."""
    over = msgspec.structs.replace(watching.watch, breached=("x",))
    done = {"state": State.ENFORCED, "outcome": Outcome.ENFORCED.name, "why": "watched to the end"}
    return [
        Shown(named(watching, "alpha"), tick(now)),
        Shown(named(watching, "beta"), tick(now)),
        Shown(named(watching, "gamma", **done)),
        Shown(named(watching, "delta", watch=over), tick(now, failed="9.0%", breached=True)),
        Shown(named(watching, "epsilon", held="approval of 'go'", entered=now)),
        Shown(named(rolled_back, "zeta")),
    ]


def test_several_runs_have_a_line_each_the_worst_first(batch: list[Shown], now: datetime) -> None:
    """Failing, then held and over a limit, then what goes on, then what is over."""
    assert [
        "6 namespaces, 2 ended: 1 rolled_back, 3 watching, 1 held, 1 enforced",
        "× zeta     rolled_back  proven",
        "‼ delta    watching     ░░░░░ healthy 4m/30m · edge-errors 9.0% of 100 failed a…",
        "‼ epsilon  watching     held 1m: approval of 'go'",
        "  alpha    watching     ░░░░░ healthy 4m/30m · 8/60 samples · edges 1/1",
        "  beta     watching     ░░░░░ healthy 4m/30m · 8/60 samples · edges 1/1",
        "√ gamma    enforced     watched to the end",
    ] == block(batch, now + timedelta(minutes=1), Style(width=81), height=10)


@pytest.mark.parametrize("height", range(8))
def test_the_block_fits_the_screen(batch: list[Shown], now: datetime, height: int) -> None:
    """What does not fit is counted, and nobody is lost."""
    lines = block(batch, now, Style(), height=height)
    assert len(lines) <= height
    if height >= 3:
        rows = [line for line in lines[1:] if not line.startswith("  +")]
        more = [int(line.split()[0]) for line in lines if line.startswith("  +")]
        assert len(batch) == len(rows) + sum(more)
        assert "zeta" in lines[1]


@pytest.mark.parametrize("width", [1, 2, 10, 20, 40, 80, 120])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_the_terminal(batch: list[Shown], now: datetime, width: int, ascii_only: bool) -> None:
    """Wide characters count twice, and a combining accent not at all; the last column stays free."""
    wide = [Shown(named(one.run, "名前空間" * 5 + "e\u0301\ufe0f"), one.tick, "理由" * 40) for one in batch]
    style = Style(width=width, ascii=ascii_only)
    for shown in (wide, wide[:1], [msgspec.structs.replace(wide[0], run=named(wide[0].run, "x", held="理由" * 40))]):
        for line in block(shown, now, style, height=20):
            assert width_of(line) < width
            assert line.isprintable()
            assert line.isascii() or not ascii_only


def test_a_wide_name_is_cut_between_characters(watching: Run, now: datetime) -> None:
    """Never in half, and its column stays straight."""
    shown = [Shown(named(watching, "名前空間名前空間名前空間")), Shown(named(watching, "b"))]
    lines = block(shown, now, Style(width=33), height=9)
    assert [
        "2 namespaces, 0 ended: 2 watchi…",
        "  b           watching  healthy",
        "  名前空間…   watching  healthy",
    ] == [line.removesuffix("…") if number else line for number, line in enumerate(lines)]


def test_a_credential_in_a_reason_is_cut_out(watching: Run, now: datetime) -> None:
    """As in every line that stays."""
    run = msgspec.structs.replace(watching, held="no answer from https://ana:hunter2@prometheus")
    assert "hunter2" not in "".join(block([Shown(run)], now, Style(width=200), height=5))


def test_status_says_the_same_words(batch: list[Shown], now: datetime) -> None:
    """Namespace, state, end or `held`, and sight: whoever reads both screens finds them again."""
    tree = {line.split()[1 if line[0] != " " else 0]: line for line in block(batch, now, Style(width=81), height=9)[1:]}
    for line in status([one.run for one in batch], now, Style(width=200))[1:]:
        name, state, end, sight, *_ = line.split()
        assert {state, end, sight} - {"-"} - {word.strip(":") for word in tree[name].split()} <= (
            {sight} if end != "-" else set()
        )


def test_a_tree_needs_no_line_for_what_it_shows(story: Story, blocked: Run, now: datetime) -> None:
    """Beginnings and what passed; never an end, a write, a failure, or what somebody noted."""
    kept = [type(event).__name__ for _, after, event in story if not minor(after, event)]
    assert ["Done", "Ticks", "Ticks", "Moved", "Done", "Moved", "Ended"] == kept
    assert not minor(blocked, Checked(t=now, state=State.CONFIRMING, results=blocked.checks))
    assert not minor(blocked, Noted(t=now, text="x"))
    assert minor(blocked, Moved(t=now, from_=State.VERIFYING, to=State.PERMISSIVE))


def test_a_run_that_nobody_watches_yet_has_no_bar(watching: Run, now: datetime) -> None:
    """An empty wave is no block."""
    assert [] == block([], now, Style(), height=10)
    assert [] == block([Shown(watching)], now, Style(), height=0)
    begun = msgspec.structs.replace(watching, watch=Watch(began=now))
    assert "░░░░░░░░░░ no sample yet 0s/30m" in block([Shown(begun)], now, Style(), height=2)[0]
