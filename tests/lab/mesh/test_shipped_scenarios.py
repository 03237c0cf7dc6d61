"""Every scenario that is shipped loads, starts fast, repeats itself, and is what its description says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from rollout.errors import Outcome, UsageError
from rollout.lab.durations import duration
from rollout.lab.lab import Lab, list_scenarios
from rollout.lab.promql import InstantVector, instant
from rollout.lab.scenario import SHIPPED, load_scenario

NAMES = [name for name, _ in list_scenarios()]
START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@contextmanager
def started(name: str, seed: int = 1) -> Iterator[Lab]:
    """A lab without sockets."""
    lab = Lab(load_scenario(name), seed=seed, start=START, monotonic=lambda: 0.0)
    try:
        yield lab
    finally:
        lab.stop()


def ask(lab: Lab, query: str) -> dict[tuple[str, ...], float]:
    result = instant(lab.storage, query, round(lab.clock.now().timestamp() * 1000))
    assert isinstance(result, InstantVector)
    return {tuple(v for _, v in sorted(s.labels.items())): s.value for s in result.samples}


def write(lab: Lab, mode: str, namespace: str, name: str = "default") -> None:
    there = lab.store.get("security.istio.io/v1", "PeerAuthentication", name, namespace)
    spec = {"mtls": {"mode": mode}}
    if there is None:
        kind = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication"}
        meta = {"name": name, "namespace": namespace}
        lab.store.create({**kind, "metadata": meta, "spec": spec}, manager="rollout")
    else:
        args = ("security.istio.io/v1", "PeerAuthentication", name)
        lab.store.patch(*args, {"spec": spec}, namespace=namespace, manager="rollout")


def plaintext(lab: Lab, window: str = "8d") -> dict[tuple[str, ...], float]:
    """Plaintext edges by source and destination workload, with series that were born and died."""
    where = 'reporter="destination",connection_security_policy!="mutual_tls"'
    http = f"max_over_time(istio_requests_total{{{where}}}[{window}])"
    tcp = f"max_over_time(istio_tcp_connections_closed_total{{{where}}}[{window}])"
    return ask(lab, f"sum by (source_workload, destination_workload) ({http} or {tcp})")


def mode(lab: Lab, namespace: str) -> str:
    found = lab.store.get("security.istio.io/v1", "PeerAuthentication", "default", namespace)
    assert found is not None
    return str(found["spec"]["mtls"]["mode"])


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_starts_and_half_an_hour_passes(name: str) -> None:
    """Within three seconds and one second, of which a tenth is used."""
    began = time.perf_counter()
    with started(name) as lab:
        ready = time.perf_counter()
        lab.advance(timedelta(minutes=30))
        done = time.perf_counter()
        print(f"{name}: start {ready - began:.2f} s, 30 minutes {done - ready:.2f} s")
        assert ready - began < 3
        assert done - ready < 1
        assert lab.clock.now() == START + timedelta(minutes=30)


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_expects_an_end_that_exists(name: str) -> None:
    """Exit code and label come from the one table of ends; the file says what it teaches."""
    scenario = load_scenario(name)
    ends = {(outcome.exit_code, outcome.label) for outcome in Outcome}
    assert (scenario.expected.exit_code, scenario.expected.outcome) in ends
    assert len(scenario.description) > 80
    assert set(scenario.target) <= {*scenario.namespaces, scenario.root}


@pytest.mark.parametrize("name", ["healthy", "legacy-caller", "deploy-and-scale-during-watch"])
def test_the_same_seed_gives_the_same_samples(name: str) -> None:
    """All series of two runs are equal, names of pods included; another seed differs."""

    def samples(seed: int) -> dict[tuple[str, ...], float]:
        with started(name, seed) as lab:
            write(lab, "STRICT", lab.scenario.target[0])
            lab.advance(timedelta(minutes=12))
            return ask(lab, '{__name__=~"istio_requests_total|envoy_.*"}')

    assert samples(1) == samples(1)
    assert samples(1) != samples(2)


def test_steps_of_any_size_lead_to_the_same_counters() -> None:
    """A tool that sleeps a second at a time sees what one sees that sleeps for ten minutes."""

    def samples(step: float) -> dict[tuple[str, ...], float]:
        with started("regression-after-flip") as lab:
            write(lab, "STRICT", "payments")
            for _ in range(round(600 / step)):
                lab.advance(timedelta(seconds=step))
            return ask(lab, "istio_requests_total")

    assert samples(600) == samples(2.5)


@pytest.mark.parametrize(
    "name", ["healthy", "regression-after-flip", "regression-pod-ip", "oldest-policy-wins", "caller-stops-during-watch"]
)
def test_these_have_no_plaintext_before_the_flip(name: str) -> None:
    """Their gate is clean."""
    with started(name) as lab:
        assert plaintext(lab) == {}


@pytest.mark.parametrize(
    ("name", "edges"),
    [
        ("legacy-caller", {("orders", "unknown")}),
        ("nightly-batch", {("orders", "unknown")}),
        ("destination-rule-disable", {("ledger", "web")}),
        ("missing-sidecar", {("orders", "unknown")}),
        ("probe-rewrite-off", {("ledger", "unknown")}),
        ("webhook-in-namespace", {("validator", "unknown")}),
        ("disabled-namespace", {("orders", "web")}),
    ],
)
def test_these_have_the_plaintext_that_they_are_about(name: str, edges: set[tuple[str, str]]) -> None:
    """Destination workload and source workload, over eight days."""
    with started(name) as lab:
        assert edges == set(plaintext(lab))


def test_the_legacy_caller_is_gone_nine_days_after_its_fix() -> None:
    """The next Job has a sidecar; the window forgets the plaintext."""
    with started("legacy-caller") as lab:
        assert plaintext(lab)
        lab.fire("fix")
        lab.advance(days=9)
        none = 'reporter="destination",connection_security_policy="none"'
        assert not any(ask(lab, f"increase(istio_requests_total{{{none}}}[8d])").values())
        calls = ask(lab, 'sum by (connection_security_policy) (max_over_time(istio_requests_total{'
                         'reporter="destination",source_workload="invoicer"}[8d]))')  # fmt: skip
        assert set(calls) == {("mutual_tls",)}


def test_the_regression_begins_three_minutes_after_the_flip_and_ends_with_the_way_back() -> None:
    """Only the source sees it."""
    refused = 'sum(increase(istio_requests_total{source_workload="web",response_flags="UC"}[1m]))'
    with started("regression-after-flip") as lab:
        write(lab, "STRICT", "payments")
        lab.advance(timedelta(minutes=3))
        assert not any(ask(lab, refused).values())
        lab.advance(timedelta(minutes=2))
        assert ask(lab, refused)[()] > 300
        write(lab, "PERMISSIVE", "payments")
        lab.advance(timedelta(minutes=3))
        assert ask(lab, refused)[()] == 0
        served = 'sum(rate(istio_requests_total{reporter="destination",connection_security_policy="none"}[1m]))'
        assert ask(lab, served)[()] > 5


def test_argo_cd_takes_the_policy_back_and_a_human_switches_it_off() -> None:
    """Outside events write as the manager that the story names."""
    with started("gitops-owned") as lab:
        write(lab, "STRICT", "production")
        lab.advance(timedelta(minutes=2))
        assert mode(lab, "production") == "PERMISSIVE"
    with started("overridden-during-watch") as lab:
        write(lab, "STRICT", "production")
        lab.advance(timedelta(minutes=9))
        found = lab.store.get("security.istio.io/v1", "PeerAuthentication", "default", "production")
        assert found is not None
        assert found["spec"]["mtls"]["mode"] == "DISABLE"
        assert "kubectl-edit" in {entry["manager"] for entry in found["metadata"]["managedFields"]}


def test_prometheus_comes_back_with_a_gap() -> None:
    """Away for five minutes: no answers, and no scrapes that could be asked for later."""
    with started("prometheus-outage-short-during-watch") as lab:
        write(lab, "STRICT", "production")
        lab.advance(timedelta(minutes=7))
        assert lab.prometheus.handle("GET", "/api/v1/query", "query=up", {}, b"")[0] == 503
        lab.advance(timedelta(minutes=6))
        assert lab.prometheus.handle("GET", "/api/v1/query", "query=up", {}, b"")[0] == 200
        seen = ask(lab, "count_over_time(up[12m])")
        assert set(seen.values()) == {25 - 10}


def test_the_older_policy_decides() -> None:
    """STRICT in the younger one changes nothing, in the older one everything."""
    modified = "sum(envoy_listener_manager_listener_modified)"
    with started("oldest-policy-wins") as lab:
        write(lab, "STRICT", "production")
        lab.advance(timedelta(minutes=2))
        assert ask(lab, modified)[()] == 0
        write(lab, "STRICT", "production", "mesh-mtls")
        lab.advance(timedelta(minutes=2))
        assert ask(lab, modified)[()] == 4


def test_no_key_of_a_scenario_names_a_metric_or_a_verdict() -> None:
    """The simulator works out what comes of a scenario; a file cannot say it.

    What Prometheus does to its labels is the outside world's.
    """
    words = ("istio_requests", "envoy_", "reporter", "regressed", "cannot_see")
    for name in NAMES:
        document = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
        document.get("mesh", {}).pop("relabel", None)
        text = yaml.safe_dump({key: value for key, value in document.items() if key not in ("title", "description")})
        assert not [word for word in words if word in text], name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "blue"}, "unknown key colour"),
        ({"workloads": [{"name": "a"}]}, "workloads[0]: missing key namespace"),
        (
            {"workloads": [{"name": "a", "namespace": "app", "sidecar": "maybe"}]},
            "workloads[0].sidecar: '', native, classic, none or ambient, not 'maybe'",
        ),
        (
            {"traffic": {"t": {"to": "app/a:80", "rate": "5/parsec"}}},
            "traffic.t.rate: a rate such as 5/s or 12/h, not '5/parsec'",
        ),
        ({"traffic": {"t": {"from": "moon", "to": "app/a:80"}}}, "from is"),
        ({"events": [{"after_flip": "soon", "stop_caller": "t"}]}, "no duration"),
        ({"events": [{"stop_caller": "t"}]}, "one of after_flip"),
        ({"expect": {"exit": 0}}, "expect: missing key outcome"),
        ({"certificates": {"app/a": "ugly"}}, "certificates.app/a: expired, foreign-root or wrong-san, not 'ugly'"),
        ({"certificates": {"a": "expired"}}, "no NAMESPACE/NAME"),
        ({"diagnosis": [{"of": "app", "exit": 0, "says": "x", "colour": "blue"}]}, "diagnosis: unknown key colour"),
        ({"events": [{"before": "1h", "at": "1h", "stop_caller": "t"}]}, "one of after_flip"),
    ],
)
def test_a_wrong_scenario_is_refused_with_the_reason(tmp_path: Path, change: dict[str, object], said: str) -> None:
    """One sentence and the file."""
    good = {
        "title": "t", "description": "d", "target": "app", "namespaces": {"app": {}},
        "expect": {"exit": 0, "outcome": "enforced"},
    }  # fmt: skip
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**good, **change}))
    with pytest.raises(UsageError) as caught:
        load_scenario(path)
    assert said in caught.value.problem
    assert str(path) == caught.value.where


def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    """A name that is none."""
    with pytest.raises(UsageError) as caught:
        load_scenario("heathly")
    assert "healthy" in caught.value.limit


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90_000), ("1h30m", 5_400_000), ("250ms", 250), ("1.5m", 90_000)]
)
def test_durations_are_read(text: str, expected: int) -> None:
    """Milliseconds."""
    assert expected == duration(text)
