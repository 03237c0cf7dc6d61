"""Certificates: trusted, not trusted, and not looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout import errors
from rollout.adapters.kubernetes import connect
from rollout.adapters.prometheus_source import connect_metrics
from rollout.model.kubernetes import Namespace
from tests.adapters.connecting import kubeconfig
from tests.loopback import Handler, needs_openssl, self_signed, serving

NOW = datetime(2026, 3, 2, tzinfo=UTC)

pytestmark = needs_openssl


class Empty(Handler):
    """Answers everything with an empty list, or an empty vector."""

    def serve(self) -> None:
        vector = {"status": "success", "data": {"resultType": "vector", "result": []}}
        self.send(200, json.dumps({"items": [], "resources": [{"name": "namespaces"}], **vector}).encode())


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """An HTTPS server; its certificate is `cert.pem`."""
    with serving(Empty, self_signed(tmp_path)) as port:
        yield f"https://127.0.0.1:{port}"


def namespaces(folder: Path, url: str, **more: object) -> tuple[Namespace, ...]:
    cluster = connect(kubeconfig(folder, url, cluster=more), None, sleep=lambda _: None)
    try:
        return cluster.list(Namespace)
    finally:
        cluster.close()


def ask(url: str, **more: Any) -> None:
    metrics = connect_metrics(url, sleep=lambda _: None, **more)
    try:
        assert metrics.query("up", NOW).samples == ()
    finally:
        metrics.close()


def test_a_trusted_certificate(url: str, tmp_path: Path) -> None:
    """By the authority that is named."""
    authority = str(tmp_path / "cert.pem")
    assert namespaces(tmp_path, url, **{"certificate-authority": authority}) == ()
    ask(url, ca_file=authority)


def test_one_that_is_not_trusted(url: str, tmp_path: Path) -> None:
    """The reason on one line, and where to look."""
    with pytest.raises(errors.Unreachable, match=r"not trusted: .*self-signed") as error:
        namespaces(tmp_path, url)
    assert "\n" not in error.value.problem
    assert "certificate-authority" in error.value.next
    with pytest.raises(errors.MetricsUnreachable, match=r"not trusted: .*self-signed"):
        ask(url)


def test_one_that_is_not_looked_at(url: str, tmp_path: Path) -> None:
    """Without a warning for every request."""
    assert namespaces(tmp_path, url, **{"insecure-skip-tls-verify": True}) == ()
    ask(url, verify=False)


def test_an_authority_that_is_none(url: str, tmp_path: Path) -> None:
    """No such file, or not a certificate."""
    with pytest.raises(errors.UsageError):
        namespaces(tmp_path, url, **{"certificate-authority": "/nosuch/ca.pem"})
    with pytest.raises(errors.RolloutError) as error:
        namespaces(tmp_path, url, **{"certificate-authority-data": "aGVsbG8="})
    assert "\n" not in error.value.problem
    with pytest.raises(errors.UsageError):
        ask(url, ca_file="/nosuch/ca.pem")


def test_plain_http_to_a_tls_port(url: str, tmp_path: Path) -> None:
    """A sentence."""
    with pytest.raises(errors.Unreachable):
        namespaces(tmp_path, url.replace("https", "http"))
    with pytest.raises(errors.MetricsError):
        ask(url.replace("https", "http"))
