"""The lab as its clients meet it: sockets, kubeconfig, time."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from rollout.errors import UsageError
from rollout.lab.lab import Lab, list_scenarios


def get(url: str, token: str = "lab") -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def query(lab: Lab, text: str) -> list[Any]:
    answer = get(f"{lab.prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': text})}")
    return list(answer["data"]["result"])


def test_a_lab_serves_its_cluster_its_metrics_and_its_clock() -> None:
    """One port for all three, named by the kubeconfig."""
    with Lab.start("legacy-caller") as lab:
        server = yaml.safe_load(lab.kubeconfig)["clusters"][0]["cluster"]["server"]
        assert lab.api_url == server
        pods = get(f"{server}/api/v1/namespaces/production/pods")["items"]
        assert len(pods) == 6
        assert len(query(lab, "up")) == 6
        now = datetime.fromisoformat(get(lab.clock_url)["now"])
        assert abs(now - lab.clock.now()) < timedelta(seconds=5)


def test_time_starts_ahead_of_the_real_one_by_the_history_that_exists() -> None:
    """So that the stamps of a real server lie in the lab's past."""
    with Lab.start("no-traffic") as lab:
        ahead = lab.clock.now() - datetime.now(UTC)
        assert timedelta(days=8, hours=23) < ahead < timedelta(days=9, hours=1)
        (first,) = {float(r["value"][1]) for r in query(lab, "min(min_over_time(timestamp(up)[9d:1h]))")} or {0.0}
        assert first <= (lab.clock.now() - timedelta(days=8, hours=22)).timestamp()


def test_nobody_attached_lets_time_run_and_metrics_follow() -> None:
    """A write over HTTP reaches the proxies though nobody sleeps in virtual time."""
    with Lab.start("no-traffic", start=datetime(2026, 3, 2, tzinfo=UTC)) as lab:
        body = {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "default"},
            "spec": {"mtls": {"mode": "STRICT"}},
        }
        url = f"{lab.api_url}/apis/security.istio.io/v1/namespaces/attic/peerauthentications"
        headers = {"Content-Type": "application/json", "Authorization": "Bearer lab"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 201
        lab.advance(timedelta(minutes=1))
        assert {r["value"][1] for r in query(lab, "envoy_listener_manager_listener_modified")} == {"1"}


def test_the_scenarios_user_has_the_scenarios_rights() -> None:
    """No ConfigMap in the target, but in the namespace for state; the token `admin` may do everything."""
    with Lab.start("state-namespace-needed") as lab:

        def create(namespace: str, token: str) -> int:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"probe-{token}"}}
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
            url = f"{lab.api_url}/api/v1/namespaces/{namespace}/configmaps"
            request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code

        assert (
            create("production", "lab"), create("rollout-state", "lab"), create("production", "admin")
        ) == (403, 201, 201)  # fmt: skip


def test_an_event_that_the_scenario_has_not_is_refused() -> None:
    """With the names that it has."""
    with Lab.start("legacy-caller") as lab, pytest.raises(UsageError) as caught:
        lab.fire("fixx")
    assert "fix" in caught.value.limit


def test_scenarios_are_listed_with_their_titles() -> None:
    """For `--lab` without a name, and for people."""
    listed = dict(list_scenarios())
    assert "healthy" in listed
    assert all(title for title in listed.values())
