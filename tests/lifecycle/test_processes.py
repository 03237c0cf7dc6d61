"""Real processes: killed, stopped, and taken up from another machine (another state folder)."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rollout.lab.api.store import AdmissionRequest
from rollout.lab.lab import Lab

HERE = Path(__file__).parent


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A ready namespace."""
    with Lab.start("oldest-policy-wins") as started:
        yield started


class Strict:
    """Knows when the namespace's policy became STRICT, and what was written since."""

    def __init__(self, lab: Lab) -> None:
        """Listen to the store."""
        self.lab = lab
        self.written = threading.Event()
        lab.store.subscribe(self._hear)

    def _hear(self, kind: str, obj: dict[str, object]) -> None:
        if obj.get("kind") == "PeerAuthentication" and "STRICT" in str(obj.get("spec")):
            self.written.set()

    def real(self) -> list[tuple[str, str]]:
        """The tool's real writes: verb and resource."""
        return [(w.verb, w.resource) for w in self.lab.store.writes if not w.dry_run]


def start(lab: Lab, state: Path, *argv: str) -> subprocess.Popen[str]:
    """One `rollout` process against the lab."""
    return subprocess.Popen(
        [sys.executable, "-m", "rollout", *argv, "--lab", lab.api_url],
        env={**os.environ, "XDG_STATE_HOME": str(state), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def migrate(lab: Lab, state: Path, *more: str) -> subprocess.Popen[str]:
    """A migration in a hurry."""
    return start(lab, state, "migrate", "production", "--yes", "--playbook", str(HERE / "quick.yaml"), *more)


def mode(lab: Lab) -> str:
    """What stands in the deciding policy."""
    policies = lab.store.list("security.istio.io/v1", "PeerAuthentication", "production")
    return str(next(p["spec"]["mtls"]["mode"] for p in policies if p["metadata"]["name"] == "mesh-mtls"))


def test_a_killed_run_is_resumed_from_another_machine(lab: Lab, tmp_path: Path) -> None:
    """SIGKILL after the flip: the cluster's journal suffices."""
    strict = Strict(lab)
    with lab.clock.attach():
        first = migrate(lab, tmp_path / "one")
        assert strict.written.wait(60), first.communicate(timeout=30)[0]
        first.kill()
        first.communicate(timeout=30)
        assert first.returncode == -signal.SIGKILL
    lab.advance(timedelta(minutes=1))
    second = start(lab, tmp_path / "two", "resume", "production")
    out, _ = second.communicate(timeout=90)
    assert second.returncode == 0, out
    assert "ENFORCED" in out
    assert mode(lab) == "STRICT"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_after_the_flip_writes_the_undo_first(lab: Lab, tmp_path: Path, number: signal.Signals) -> None:
    """The very first write after the signal is the policy's; the end is proven, exit 5."""
    strict = Strict(lab)
    with lab.clock.attach():
        run = migrate(lab, tmp_path)
        assert strict.written.wait(60), run.communicate(timeout=30)[0]
        wait_for_quiet(strict)
        before = len(strict.real())
        run.send_signal(number)
        wait_until(lambda: mode(lab) == "PERMISSIVE")
        assert strict.real()[before] == ("patch", "peerauthentications")
    out, _ = run.communicate(timeout=90)
    assert run.returncode == 5, out
    assert "ROLLED BACK" in out


def test_a_stop_with_leave_keeps_strict_for_a_successor(lab: Lab, tmp_path: Path) -> None:
    """`--on-stop leave`: 143, STRICT stays, and resume goes on."""
    strict = Strict(lab)
    with lab.clock.attach():
        run = migrate(lab, tmp_path, "--on-stop", "leave")
        assert strict.written.wait(60), run.communicate(timeout=30)[0]
        wait_for_quiet(strict)
        run.send_signal(signal.SIGTERM)
        out, _ = run.communicate(timeout=60)
    assert run.returncode == 143, out
    assert mode(lab) == "STRICT"
    assert "rollout resume" in out
    second = start(lab, tmp_path / "two", "resume", "production")
    out, _ = second.communicate(timeout=90)
    assert second.returncode == 0, out


def test_rollback_takes_an_enforced_namespace_back(lab: Lab, tmp_path: Path) -> None:
    """After the end, by name."""
    done = migrate(lab, tmp_path)
    out, _ = done.communicate(timeout=90)
    assert done.returncode == 0, out
    back = start(lab, tmp_path / "two", "rollback", "production")
    out, _ = back.communicate(timeout=90)
    assert back.returncode == 5, out
    assert mode(lab) == "PERMISSIVE"


def test_a_second_runner_is_told_who_and_until_when(lab: Lab, tmp_path: Path) -> None:
    """Exit 9 while the lease is fresh; nothing written."""
    strict = Strict(lab)
    with lab.clock.attach():
        first = migrate(lab, tmp_path / "one")
        assert strict.written.wait(60), first.communicate(timeout=30)[0]
        wait_for_quiet(strict)
        second = migrate(lab, tmp_path / "two")
        out, _ = second.communicate(timeout=60)
        assert second.returncode == 9, out
        assert "lease" in out.lower()
    first.communicate(timeout=90)
    assert first.returncode == 0


def wait_for_quiet(strict: Strict) -> None:
    """Until the process sleeps: no more writes for a while."""
    last = -1
    while last != (now := len(strict.real())):
        last = now
        threading.Event().wait(0.7)


def asked_back(lab: Lab) -> bool:
    """Somebody's request to roll back stands in a journal."""
    return '"kind":"roll_back"' in str(lab.store.list("v1", "ConfigMap", "production"))


def wait_until(true: object) -> None:
    """Poll for at most ten seconds."""
    assert callable(true)
    for _ in range(200):
        if true():
            return
        threading.Event().wait(0.05)
    pytest.fail("it did not happen within ten seconds")


def test_rollback_to_start_goes_on_to_what_was_there_before(tmp_path: Path) -> None:
    """The policy that the run created is deleted, since no effective mode changes."""
    with Lab.start("regression-after-flip") as lab:
        run = start(lab, tmp_path, "migrate", "payments", "--yes", "--playbook", str(HERE / "quick.yaml"))
        out, _ = run.communicate(timeout=90)
        assert run.returncode in (0, 5), out
        back = start(lab, tmp_path / "two", "rollback", "payments", "--to-start")
        out, _ = back.communicate(timeout=90)
        assert back.returncode == 5, out
        assert lab.store.list("security.istio.io/v1", "PeerAuthentication", "payments") == []


def test_a_required_guard_that_is_not_there_blocks(lab: Lab, tmp_path: Path) -> None:
    """Without a terminal and without a CronJob that resumes, `--require-guard` refuses before any write."""
    run = migrate(lab, tmp_path, "--require-guard")
    out, _ = run.communicate(timeout=90)
    assert run.returncode == 3, out
    assert "nobody would pick this run up" in " ".join(out.split())


def flipped_and_asked_back(lab: Lab, folder: Path) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """A migration that is behind its flip, and the `rollback` at another terminal, whose request it can read."""
    strict = Strict(lab)
    first = migrate(lab, folder / "one")
    assert strict.written.wait(60), first.communicate(timeout=30)[0]
    wait_for_quiet(strict)
    asked = start(lab, folder / "two", "rollback", "production")
    wait_until(lambda: asked_back(lab))
    return first, asked


def test_requests_reach_a_run_at_another_terminal(lab: Lab, tmp_path: Path) -> None:
    """`rollback` by name writes a request into the journal of the process that holds the lease, and waits for it."""
    with lab.clock.attach() as here:
        first, asked = flipped_and_asked_back(lab, tmp_path)
        here.sleep_until(lab.clock.now() + timedelta(minutes=5))
    out, _ = asked.communicate(timeout=60)
    assert asked.returncode == 5, out
    assert "asked" in out
    out, _ = first.communicate(timeout=90)
    assert first.returncode == 5, out


def test_a_stop_ends_the_waiting_and_the_request_stays(lab: Lab, tmp_path: Path) -> None:
    """SIGTERM while `rollback` waits for another process: 143, and that one rolls back all the same."""
    with lab.clock.attach() as here:
        first, asked = flipped_and_asked_back(lab, tmp_path)
        threading.Event().wait(0.5)
        asked.send_signal(signal.SIGTERM)
        out, _ = asked.communicate(timeout=60)
        assert asked.returncode == 143, out
        here.sleep_until(lab.clock.now() + timedelta(minutes=5))
    out, _ = first.communicate(timeout=90)
    assert first.returncode == 5, out


def test_an_approval_given_from_elsewhere_lets_the_run_go_on(lab: Lab, tmp_path: Path) -> None:
    """Exit 7 without a terminal; `approve`, then `resume`, goes through the gate."""
    book = tmp_path / "approve.yaml"
    text = (HERE / "quick.yaml").read_text(encoding="utf-8")
    gate = "    - name: The team lead agrees\n      approve:\n    - name: Require mutual TLS\n"
    book.write_text(text.replace("    - name: Require mutual TLS\n", gate), encoding="utf-8")
    first = start(lab, tmp_path, "migrate", "production", "--yes", "--playbook", str(book))
    out, _ = first.communicate(timeout=90)
    assert first.returncode == 7, out
    assert "The team lead agrees" in " ".join(out.split())
    assert mode(lab) == "PERMISSIVE"
    said = start(lab, tmp_path, "approve", "production")
    out, _ = said.communicate(timeout=60)
    assert said.returncode == 0, out
    second = start(lab, tmp_path, "resume", "production")
    out, _ = second.communicate(timeout=90)
    assert second.returncode == 0, out
    assert mode(lab) == "STRICT"


class Assassin:
    """Kills the process at the n-th real write of a policy, before it is stored or right after."""

    def __init__(self, lab: Lab, number: int, *, after: bool) -> None:
        """Sit in admission, or among the store's listeners."""
        self.victim: subprocess.Popen[str] | None = None
        self.number = number
        self.seen = 0
        if after:
            lab.store.subscribe(self._stored)
        else:
            lab.store.admission.append(self._admit)

    def _stored(self, kind: str, obj: dict[str, object]) -> None:
        self._hear(obj.get("kind") == "PeerAuthentication")

    def _admit(self, request: AdmissionRequest) -> str | None:
        if request.dry_run or request.resource.plural != "peerauthentications":
            return None
        return "the process is dead" if self._hear(wanted=True) else None

    def _hear(self, wanted: bool) -> bool:
        self.seen += wanted
        if not wanted or self.seen != self.number or self.victim is None:
            return False
        self.victim.kill()
        return True


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2], ids=["permissive", "strict"])
def test_sigkill_at_a_policy_write(tmp_path: Path, number: int, after: bool) -> None:
    """Before and after each write of the real process; another one, without the mirror, ends the run."""
    with Lab.start("healthy") as lab:
        assassin = Assassin(lab, number, after=after)
        with lab.clock.attach():
            run = start(lab, tmp_path / "one", "migrate", "shop", "--yes", "--playbook", str(HERE / "quick.yaml"))
            assassin.victim = run
            run.communicate(timeout=90)
        assert run.returncode == -signal.SIGKILL
        lab.store.admission.clear()
        lab.advance(timedelta(minutes=2))
        second = start(lab, tmp_path / "two", "resume", "shop")
        out, _ = second.communicate(timeout=90)
        assert second.returncode == 0, out
        policies = lab.store.list("security.istio.io/v1", "PeerAuthentication", "shop")
        assert [p["spec"]["mtls"]["mode"] for p in policies] == ["STRICT"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_sigkill_at_the_undo(lab: Lab, tmp_path: Path, after: bool) -> None:
    """Killed at the undo that a stop asked for: `resume` finds out what was written, and ends rolled back."""
    strict = Strict(lab)
    assassin = Assassin(lab, 2, after=after)
    with lab.clock.attach():
        run = migrate(lab, tmp_path / "one")
        assert strict.written.wait(60), run.communicate(timeout=30)[0]
        wait_for_quiet(strict)
        assassin.victim = run
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=60)
        assert run.returncode == -signal.SIGKILL
    lab.store.admission.clear()
    lab.advance(timedelta(minutes=2))
    second = start(lab, tmp_path / "two", "resume", "production")
    out, _ = second.communicate(timeout=90)
    if after:
        assert second.returncode == 5, out
        assert mode(lab) == "PERMISSIVE"
    else:  # the stop died with the process before it wrote anything: the run goes on
        assert second.returncode == 0, out
        assert mode(lab) == "STRICT"


def test_sigkill_in_mid_watch(lab: Lab, tmp_path: Path) -> None:
    """The gap is judged first, and the watch goes on to its end."""
    watching = threading.Event()

    def hear(kind: str, obj: dict[str, object]) -> None:
        if obj.get("kind") == "ConfigMap" and '"type":"ticks"' in str(obj.get("data")):
            watching.set()

    lab.store.subscribe(hear)
    with lab.clock.attach() as here:
        run = migrate(lab, tmp_path / "one")
        for _ in range(400):
            if watching.is_set():
                break
            here.sleep_until(lab.clock.now() + timedelta(seconds=5))
            threading.Event().wait(0.05)
        assert watching.is_set()
        run.kill()
        run.communicate(timeout=30)
    lab.advance(timedelta(minutes=3))
    second = start(lab, tmp_path / "two", "resume", "production")
    out, _ = second.communicate(timeout=90)
    assert second.returncode == 0, out
