"""What the suite `kube_apiserver` starts where its own code is tried: programs that take the flags of the real ones.

`kube-apiserver` is the lab's API over TLS with the users of its token file, `etcd` only counts compactions. Run as
`python -m tests.lab.fake_kube_apiserver kube-apiserver|etcd FLAGS`.
"""

from __future__ import annotations

import csv
import json
import ssl
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from rollout.lab.api import User
from tests.lab.standin import StandIn

POLL = 0.05


def main(program: str, argv: list[str]) -> None:
    """Serve until terminated."""
    given = dict(flag.removeprefix("--").split("=", 1) for flag in argv)
    {"kube-apiserver": serve, "etcd": count}[program](given)


def serve(given: dict[str, str]) -> None:
    """The API; the history is thrown away when etcd was told to."""
    for needed in ("client-ca-file", "service-account-key-file", "service-account-signing-key-file"):
        Path(given[needed]).read_bytes()
    users = {}
    with Path(given["token-auth-file"]).open(encoding="utf-8", newline="") as file:
        for token, name, uid, *groups in csv.reader(file):
            users[token] = User(name, (*groups, "system:authenticated"), uid)
    standin = StandIn(more=users, port=int(given["secure-port"]))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(given["tls-cert-file"], given["tls-private-key-file"])
    listening = standin.server._http
    listening.socket = tls.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
    standin.api.watch_second = 0.4
    standin.server.start()
    done = 0
    while True:
        time.sleep(POLL)
        with urllib.request.urlopen(f"{given['etcd-servers']}/compactions", timeout=10) as answer:
            asked = json.load(answer)
        if asked > done:
            standin.store.compact(watches=False)
            done = asked


class _Etcd(BaseHTTPRequestHandler):
    compactions = 0

    def do_GET(self) -> None:
        """Health, and how often a compaction was asked for."""
        self._send({"health": "true"} if self.path == "/health" else _Etcd.compactions)

    def do_POST(self) -> None:
        """The two calls of the gateway that the suite makes."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v3/kv/compaction" and body["revision"] == "7":
            _Etcd.compactions += 1
        self._send({"header": {"revision": "7"}})

    def _send(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def count(given: dict[str, str]) -> None:
    """An etcd that keeps nothing."""
    port = urlsplit(given["listen-client-urls"]).port
    assert port is not None
    ThreadingHTTPServer(("127.0.0.1", port), _Etcd).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
