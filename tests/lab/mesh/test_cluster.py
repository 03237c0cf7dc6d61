"""Kubelet, controllers and kube-apiserver, as far as a migration sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout.lab.api.kinds import Kinds
from rollout.lab.api.status import ApiError
from rollout.lab.api.store import AdmissionRequest
from rollout.lab.mesh.cron import next_run

Start = Callable[..., Any]


def server(**more: Any) -> dict[str, Any]:
    return {"name": "server", "namespace": "app", "ports": {"http": 8080}, **more}


def test_probes_that_were_not_rewritten_fail_under_strict(bench: Start) -> None:
    """Pods leave the Service after the failure threshold, callers see UH, and containers restart (h)."""
    probes = {"readiness": "http 8080", "liveness": "http 8080"}
    made = bench(
        workloads=[server(rewrite=False, probes=probes), {"name": "client", "namespace": "app"}],
        traffic={"edge": {"from": "app/client", "to": "app/server:8080", "rate": "1/s"}},
    )
    by = "connection_security_policy,source_workload"
    made.wait(minutes=3)
    assert ("none", "unknown") in made.moved("istio_requests_total", by, reporter="destination")
    made.policy("STRICT")
    made.wait(seconds=20)
    assert made.ready("server") == 2
    made.wait(minutes=3)
    assert made.ready("server") == 0
    assert {("503", "UH")} == set(made.moved("istio_requests_total", "response_code,response_flags", reporter="source"))
    events = made.lab.store.list("v1", "Event", "app")
    assert {"Unhealthy"} == {event["reason"] for event in events}
    pod = next(pod for name, pod in made.pods().items() if name.startswith("server"))
    assert pod["status"]["containerStatuses"][0]["restartCount"] > 0
    made.policy("PERMISSIVE")
    made.wait(minutes=2)
    assert made.ready("server") == 2


@pytest.mark.parametrize("probes", [{"readiness": "tcp 8080"}, {"readiness": "exec"}])
def test_a_tcp_probe_passes_blindly(bench: Start, probes: dict[str, str]) -> None:
    """Envoy accepts the connection in every mode."""
    made = bench(workloads=[server(rewrite=False, probes=probes)])
    made.policy("STRICT")
    made.wait(minutes=5)
    assert made.ready("server") == 2


def test_rewritten_probes_survive_and_leave_no_trace(bench: Start) -> None:
    """They go to the agent on 15020, which is not captured (istio.md 4)."""
    made = bench(workloads=[server(probes={"readiness": "http 8080", "liveness": "grpc 8080"})])
    pod = next(iter(made.pods().values()))
    container = next(c for c in pod["spec"]["containers"] if c["name"] == "server")
    assert (
        container["readinessProbe"]["httpGet"]["port"], container["readinessProbe"]["httpGet"]["path"]
    ) == (15020, "/app-health/server/readyz")  # fmt: skip
    made.policy("STRICT")
    made.wait(minutes=5)
    assert made.ready("server") == 2
    assert made.query("istio_requests_total") == {}


def test_injection_follows_labels_and_shows_both_shapes(bench: Start) -> None:
    """Native, classic, refused, and asked for in a namespace without a label."""
    made = bench(
        workloads=[
            server(sidecar="native"),
            {"name": "classic", "namespace": "app", "sidecar": "classic"},
            {"name": "never", "namespace": "app", "sidecar": "none"},
            {"name": "plain", "namespace": "out"},
            {"name": "asks", "namespace": "out", "sidecar": "native"},
        ]
    )

    def shape(workload: str, namespace: str) -> tuple[bool, bool, bool]:
        pod = next(p for n, p in made.pods(namespace).items() if n.startswith(workload))
        names = [{c["name"] for c in pod["spec"].get(key) or ()} for key in ("initContainers", "containers")]
        labelled = pod["metadata"]["labels"].get("security.istio.io/tlsMode") == "istio"
        return "istio-proxy" in names[0], "istio-proxy" in names[1], labelled

    assert shape("server", "app") == (True, False, True)
    assert shape("classic", "app") == (False, True, True)
    assert shape("never", "app") == (False, False, False)
    assert shape("plain", "out") == (False, False, False)
    assert shape("asks", "out") == (True, False, True)


def test_a_deployment_rolls_without_losing_availability(bench: Start) -> None:
    """New pods come, old ones go one by one, and their series end."""
    made = bench(
        workloads=[server(replicas=3)],
        events=[{"named": "deploy", "deploy": "app/server"}],
    )
    before = set(made.pods())
    made.lab.fire("deploy")
    for _ in range(20):
        made.wait(seconds=10)
        assert made.ready("server") >= 3
    after = set(made.pods())
    assert len(after) == 3
    deployment = made.lab.store.get("apps/v1", "Deployment", "server", "app")
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    sets = made.lab.store.list("apps/v1", "ReplicaSet", "app")
    assert sorted(item["spec"]["replicas"] for item in sets) == [0, 3]
    assert not before & after
    assert after == {key[0] for key in made.query("count by (pod) (envoy_server_uptime)")}


def test_scaling_changes_the_pods(bench: Start) -> None:
    """Up and down, with the status following."""
    made = bench(
        workloads=[server()],
        events=[
            {"named": "up", "scale": {"workload": "app/server", "replicas": 5}},
            {"named": "down", "scale": {"workload": "app/server", "replicas": 1}},
        ],
    )
    made.lab.fire("up")
    made.wait(minutes=1)
    assert made.ready("server") == 5
    made.lab.fire("down")
    made.wait(minutes=1)
    assert (made.ready("server"), len(made.pods())) == (1, 1)


def test_a_new_pod_has_the_policy_from_its_first_moment(bench: Start) -> None:
    """It takes no update: nothing is modified, and plaintext is refused all the same."""
    made = bench(
        workloads=[server(replicas=1)],
        traffic={"nameless": {"from": "outside", "to": "app/server:8080", "rate": "1/s"}},
        events=[{"named": "deploy", "deploy": "app/server"}],
    )
    made.policy("STRICT")
    made.wait(minutes=2)
    made.lab.fire("deploy")
    made.wait(minutes=3)
    assert made.total("envoy_listener_manager_listener_modified") == 0
    assert made.moved("istio_requests_total", "reporter") == {}


def test_a_job_whose_calls_are_refused_fails(bench: Start) -> None:
    """Hourly, without a sidecar: it completes under PERMISSIVE and fails under STRICT."""
    made = bench(
        workloads=[
            server(),
            {"name": "job", "namespace": "out", "kind": "CronJob", "schedule": "30 * * * *", "takes": "2m"},
        ],
        traffic={"job": {"from": "out/job", "to": "app/server:8080", "calls": 5}},
    )
    made.wait(hours=1)
    made.policy("STRICT")
    made.wait(hours=1)
    jobs = sorted(made.lab.store.list("batch/v1", "Job", "out"), key=lambda job: str(job["metadata"]["name"]))
    assert [job["status"]["conditions"][-1]["type"] for job in jobs[-2:]] == ["Complete", "Failed"]
    assert made.total('sum(max_over_time(istio_requests_total{source_workload="unknown"}[2h])) / 2') == 5


def test_a_webhook_in_the_namespace_refuses_the_way_back(bench: Start) -> None:
    """kube-apiserver cannot do mutual TLS: failurePolicy Fail blocks the write that would undo STRICT (istio.md 7)."""
    made = bench(
        workloads=[{"name": "hook", "namespace": "app", "ports": {"https": 443}, "targets": {"https": 9443}}],
        manifests=[
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": "hook"},
                "webhooks": [
                    {
                        "name": "hook.example",
                        "clientConfig": {"service": {"name": "hook", "namespace": "app", "path": "/v"}},
                        "rules": [
                            {
                                "apiGroups": ["security.istio.io"], "apiVersions": ["*"], "operations": ["UPDATE"],
                                "resources": ["*"],
                            }
                        ],
                        "failurePolicy": "Fail",
                    }
                ],
            }
        ],
    )  # fmt: skip
    resource = Kinds().of("security.istio.io/v1", "PeerAuthentication")
    request = AdmissionRequest("UPDATE", resource, "app", "default", {}, {}, "admin", dry_run=True)

    def verdicts() -> list[str | ApiError | None]:
        return [admission(request) for admission in made.lab.store.admission]

    assert {None} == set(verdicts())
    made.policy("STRICT")
    made.wait(seconds=30)
    (refused,) = [verdict for verdict in verdicts() if verdict is not None]
    assert isinstance(refused, ApiError)
    assert 'failed calling webhook "hook.example"' in str(refused)


def test_prometheus_scrapes_of_an_app_port_end_in_up_0(bench: Start) -> None:
    """The only trace of such a scrape after the flip (istio.md 5)."""
    made = bench(
        workloads=[server(replicas=1)],
        traffic={"scrape": {"from": "prometheus", "to": "app/server:8080", "every": "15s"}},
    )
    assert made.total('up{job="application"}') == 1
    made.policy("STRICT")
    made.wait(minutes=1)
    assert made.total('up{job="application"}') == 0


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("15 2 * * *", 0, 8_100_000),
        ("*/20 * * * *", 60_000, 1_200_000),
        ("0 0 1 2 *", 0, 31 * 86_400_000),
        ("30 4 * * 1-5", 86_400_000 * 1, 86_400_000 + 16_200_000),
        ("0 0 * * 0", 0, 3 * 86_400_000),
    ],
)
def test_a_schedule_names_its_next_run(schedule: str, after: int, expected: int) -> None:
    """The epoch was a Thursday."""
    assert expected == next_run(schedule, after)


def test_what_the_api_refuses_to_an_event_stops_nothing(bench: Start) -> None:
    """The object is not there: the event fails for itself, and time goes on."""
    made = bench(
        workloads=[server()],
        events=[
            {
                "at": "1m",
                "delete": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "app", "name": "gone"},
                "scale": {"workload": "app/server", "replicas": 3},
            }
        ],
    )
    made.wait(minutes=3)
    assert [text.partition(":")[0] for text in made.lab.outside.failed] == ["delete"]
    assert made.ready("server") == 3


def test_a_write_is_refused_by_the_scenarios_webhook(bench: Start) -> None:
    """A policy engine that allows no PERMISSIVE answers with its own words."""
    rule = {"kind": "PeerAuthentication", "when": {"spec": {"mtls": {"mode": "PERMISSIVE"}}}}
    made = bench(workloads=[], refuse=[{**rule, "webhook": "validate.kyverno.svc", "message": "mTLS must stay on"}])
    resource = Kinds().of("security.istio.io/v1", "PeerAuthentication")

    def said(mode: str) -> set[str | ApiError | None]:
        obj = {"spec": {"mtls": {"mode": mode}}}
        request = AdmissionRequest("CREATE", resource, "app", "default", obj, None, "admin", dry_run=True)
        return {admission(request) for admission in made.lab.store.admission} - {None}

    assert {'admission webhook "validate.kyverno.svc" denied the request: mTLS must stay on'} == said("PERMISSIVE")
    assert set() == said("STRICT")
