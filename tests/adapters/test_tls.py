"""Certificates: trusted, not trusted, and not looked at."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollout import errors
from rollout.adapters.kubernetes import connect
from rollout.adapters.prometheus_source import connect_metrics
from rollout.model.kubernetes import Namespace

NOW = datetime(2026, 3, 2, tzinfo=UTC)
OPENSSL = shutil.which("openssl")

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="needs the openssl binary, which makes the certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key in one file."""
    folder = tmp_path_factory.mktemp("tls")
    argv = [str(OPENSSL), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=test"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=digitalSignature,keyCertSign"]
    subprocess.run(argv, cwd=folder, capture_output=True, check=True)
    return folder


@pytest.fixture
def url(certificate: Path) -> Iterator[str]:
    """An HTTPS server that answers everything with an empty list, or an empty vector."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            vector = {"status": "success", "data": {"resultType": "vector", "result": []}}
            body = json.dumps({"items": [], "resources": [{"name": "namespaces"}], **vector}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def namespaces(folder: Path, url: str, **more: object) -> tuple[Namespace, ...]:
    document = {
        "clusters": [{"name": "c", "cluster": {"server": url, **more}}],
        "users": [{"name": "ana", "user": {"token": "t"}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "ana"}}],
        "current-context": "test",
    }
    config = folder / "config"
    config.write_text(json.dumps(document))
    cluster = connect(str(config), None, sleep=lambda _: None)
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


def test_a_trusted_certificate(url: str, certificate: Path, tmp_path: Path) -> None:
    """By the authority that is named."""
    authority = str(certificate / "cert.pem")
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
