"""The Job and the CronJob that `rollout job` applies, run as processes with the rights of their ServiceAccount."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import main
from rollout.lab.lab import Lab

QUICK = str(Path(__file__).parent / "quick.yaml")
ACCOUNT = "system:serviceaccount:rollout:rollout"
SCENARIOS = Path(__file__).parents[2] / "rollout" / "lab" / "scenarios"


class Cluster:
    """A lab whose kubeconfig is the ServiceAccount's, and what a kubelet does for a pod of it."""

    def __init__(self, name: str, folder: Path) -> None:
        """Start the scenario; an administrator has another token."""
        scenario = yaml.safe_load((SCENARIOS / f"{name}.yaml").read_text(encoding="utf-8"))
        scenario["user"] = ACCOUNT
        path = folder / "scenario.yaml"
        path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
        self.folder = folder
        self.target = str(scenario["target"])
        self.lab = Lab.start(path)
        config = json.loads(self.lab.kubeconfig)
        config["users"][0]["user"]["token"] = "admin"
        self.admin = folder / "admin.json"
        self.admin.write_text(json.dumps(config), encoding="utf-8")
        self.strict, self.judged = threading.Event(), threading.Event()
        self.victim: subprocess.Popen[str] | None = None
        self.lab.store.subscribe(self._hear)

    def _hear(self, kind: str, obj: dict[str, Any]) -> None:
        if obj["kind"] == "PeerAuthentication" and "STRICT" in str(obj["spec"]):
            self.strict.set()
        if obj["kind"] == "ConfigMap" and '"type":"ticks"' in str(obj.get("data")):
            self.judged.set()
        if obj["kind"] == "ConfigMap" and '"to":"confirming"' in str(obj.get("data")) and self.victim:
            self.victim.kill()

    def apply(self, *more: str) -> int:
        """`rollout job TARGET --apply` as the administrator."""
        argv = ["job", self.target, "--apply", "--yes", "--playbook", QUICK, "--kubeconfig", str(self.admin), *more]
        return main([*argv, "--prometheus", self.lab.prometheus_url])

    def pod(self, kind: str) -> subprocess.Popen[str]:
        """The process of the Job's, or the CronJob's, next pod."""
        found = self.lab.store.list("batch/v1", kind, "rollout")[0]["spec"]
        spec = (found if kind == "Job" else found["jobTemplate"]["spec"])["template"]["spec"]
        (container,) = spec["containers"]
        root = self.folder / f"pod-{len(list(self.folder.glob('pod-*')))}"
        root.mkdir()
        sources = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in container["volumeMounts"]:
            place = root / mount["mountPath"].lstrip("/")
            place.mkdir(parents=True)
            config = sources[mount["name"]].get("configMap")
            data = self._data(config["name"]) if config else {}
            for name, text in data.items():
                (place / name).write_text(text, encoding="utf-8")
        assert ["rollout"] == container["command"]
        args = [word.replace("$$", "$").replace("/etc/rollout", f"{root}/etc/rollout") for word in container["args"]]
        env = {item["name"]: f"{root}{item['value']}" for item in container["env"]}
        return subprocess.Popen(
            [sys.executable, "-m", "rollout", *args, "--lab", self.lab.api_url],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _data(self, name: str) -> dict[str, str]:
        found = self.lab.store.get("v1", "ConfigMap", name, "rollout")
        assert found is not None
        return dict(found["data"])

    def modes(self) -> set[str]:
        """Of the target's policies."""
        found = self.lab.store.list("security.istio.io/v1", "PeerAuthentication", self.target)
        return {policy["spec"]["mtls"]["mode"] for policy in found}

    def states(self) -> list[str]:
        """Through which the run went."""
        (record,) = [m for m in self.lab.store.list("v1", "ConfigMap", self.target) if "e00000001" in m["data"]]
        facts = [json.loads(record["data"][key]) for key in sorted(record["data"])]
        return [fact["to"] for fact in facts if fact["type"] == "state"]

    def killed_in_mid_watch(self, number: signal.Signals) -> str:
        """The Job's process, from its start to the signal after the first judgements."""
        with self.lab.clock.attach() as here:
            job = self.pod("Job")
            for _ in range(600):
                if self.judged.is_set() or job.poll() is not None:
                    break
                here.sleep_until(self.lab.clock.now() + timedelta(seconds=5))
                threading.Event().wait(0.05)
            assert self.judged.is_set(), job.communicate(timeout=30)[0]
            job.send_signal(number)
            out, _ = job.communicate(timeout=60)
        assert job.returncode == (143 if number is signal.SIGTERM else -number), out
        assert "STRICT" in str(self.modes())
        return out


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Cluster]]:
    """Starts clusters that end with the test."""
    started: list[Cluster] = []

    def make(name: str) -> Cluster:
        started.append(Cluster(name, tmp_path))
        return started[-1]

    yield make
    for cluster in started:
        cluster.lab.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_dead_job_leaves_strict_the_cron_job_watches_to_the_end(
    start: Callable[[str], Cluster], number: signal.Signals
) -> None:
    """An evicted pod (SIGTERM) and a lost node (SIGKILL): STRICT stays, and the next pod ends `enforced`."""
    cluster = start("oldest-policy-wins")
    assert cluster.apply() == 0
    cluster.killed_in_mid_watch(number)
    cluster.lab.advance(timedelta(minutes=1))
    heir = cluster.pod("CronJob")
    out, _ = heir.communicate(timeout=90)
    assert heir.returncode == 0, out
    assert "ENFORCED" in out
    assert cluster.states()[-1] == "enforced"
    assert "STRICT" in cluster.modes()
    real = [write for write in cluster.lab.store.writes if write.namespace == "production" and not write.dry_run]
    assert {ACCOUNT} == {write.user for write in real if write.resource in ("peerauthentications", "configmaps")}
    again = cluster.pod("CronJob")
    out, _ = again.communicate(timeout=90)
    assert (0, "no run is waiting to be taken up\n") == (again.returncode, out)


def test_harm_while_nobody_watched_is_taken_back_by_the_cron_job(start: Callable[[str], Cluster]) -> None:
    """Three minutes after the flip, with the Job dead, callers fail: the next pod finds it in the gap."""
    cluster = start("regression-after-flip")
    assert cluster.apply() == 0
    cluster.killed_in_mid_watch(signal.SIGKILL)
    cluster.lab.advance(timedelta(minutes=6))
    heir = cluster.pod("CronJob")
    out, _ = heir.communicate(timeout=90)
    assert heir.returncode == 5, out
    assert {"PERMISSIVE"} == cluster.modes()
    assert ["rolling_back", "rolled_back"] == cluster.states()[-2:]


def test_while_the_job_lives_the_cron_job_keeps_away(start: Callable[[str], Cluster]) -> None:
    """Its lease is fresh: exit 0, so that no alert rings, and nothing is written."""
    cluster = start("oldest-policy-wins")
    assert cluster.apply() == 0
    with cluster.lab.clock.attach():
        job = cluster.pod("Job")
        assert cluster.strict.wait(60), job.communicate(timeout=30)[0]
        heir = cluster.pod("CronJob")
        out, _ = heir.communicate(timeout=60)
        assert heir.returncode == 0, out
        assert "works on production" in out
    out, _ = job.communicate(timeout=90)
    assert job.returncode == 0, out
    assert "picked up by CronJob rollout/migrate-production-resume" in " ".join(out.split())


def test_a_job_whose_cron_job_is_suspended_does_not_flip(start: Callable[[str], Cluster]) -> None:
    """`--require-guard` is always among its arguments."""
    cluster = start("oldest-policy-wins")
    assert cluster.apply() == 0
    cluster.lab.store.patch(
        "batch/v1", "CronJob", "migrate-production-resume", {"spec": {"suspend": True}}, namespace="rollout"
    )
    job = cluster.pod("Job")
    out, _ = job.communicate(timeout=90)
    assert job.returncode == 3, out
    assert "nobody would pick this run up" in " ".join(out.split())
    assert {"PERMISSIVE"} == cluster.modes()


def test_a_guard_that_goes_before_the_flip_is_missed_at_the_flip(start: Callable[[str], Cluster]) -> None:
    """`verifying` saw it; the gate asks again."""
    cluster = start("oldest-policy-wins")
    assert cluster.apply("--until", "checking") == 0
    job = cluster.pod("Job")
    out, _ = job.communicate(timeout=90)
    assert job.returncode == 7, out
    cluster.lab.store.delete("batch/v1", "CronJob", "migrate-production-resume", "rollout")
    onward = subprocess.run(
        [sys.executable, "-m", "rollout", "resume", "production", "--lab", cluster.lab.api_url],
        env={**os.environ, "XDG_STATE_HOME": str(cluster.folder)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert onward.returncode == 3, onward.stdout
    assert "nobody would pick this run up" in " ".join(onward.stdout.split())
    assert {"PERMISSIVE"} == cluster.modes()


def test_the_cron_job_does_not_go_on_behind_until(start: Callable[[str], Cluster]) -> None:
    """Somebody stopped there on purpose; the sentence says how to go on."""
    cluster = start("oldest-policy-wins")
    assert cluster.apply("--until", "checking") == 0
    job = cluster.pod("Job")
    out, _ = job.communicate(timeout=90)
    assert job.returncode == 7, out
    heir = cluster.pod("CronJob")
    out, _ = heir.communicate(timeout=90)
    assert heir.returncode == 0, out
    assert "is left alone: --until checking" in " ".join(out.split())
    assert {"PERMISSIVE"} == cluster.modes()


def test_a_run_that_died_before_its_until_still_stops_there(start: Callable[[str], Cluster]) -> None:
    """Taking up is not saying yes: the CronJob's pod goes on, and stops where the Job would have."""
    cluster = start("oldest-policy-wins")
    assert cluster.apply("--until", "checking") == 0
    with cluster.lab.clock.attach():
        cluster.victim = cluster.pod("Job")
        cluster.victim.communicate(timeout=90)
        assert cluster.victim.returncode == -signal.SIGKILL
    cluster.victim = None
    cluster.lab.advance(timedelta(minutes=1))
    heir = cluster.pod("CronJob")
    out, _ = heir.communicate(timeout=90)
    assert heir.returncode == 7, out
    assert "stopped after checking as asked" in " ".join(out.split())
    assert {"PERMISSIVE"} == cluster.modes()
