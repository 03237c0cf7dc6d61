"""How the lab reaches another API server: address and credentials of a kubeconfig, and kept connections."""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import ssl
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import yaml

from rollout.errors import UsageError
from rollout.lab.api.status import ApiError

Json = dict[str, Any]

NO_ANSWER = (OSError, http.client.HTTPException)
"""What `Remote.ask` raises where there is none."""
_TIMEOUT = 60.0
_BROKEN = (ConnectionError, http.client.RemoteDisconnected, http.client.CannotSendRequest)


class Remote:
    """One API server; safe to use from several threads.

    Args:
        cluster: `cluster` of a kubeconfig, with data instead of files.
        users: `user` of its entries by name.
        admin: which of them the lab is.

    Raises:
        UsageError: no address that the lab can use, or certificates that are none.
    """

    def __init__(self, cluster: Mapping[str, Any], users: Mapping[str, Mapping[str, Any]], admin: str) -> None:
        """Connect at the first request."""
        self.url = str(cluster.get("server", "")).rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{self.url!r} is no address of an API server", limit="http(s)://HOST:PORT")
        self._host, self._prefix = parts.hostname, parts.path
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._cluster, self._users, self._admin = dict(cluster), users, admin
        self._tls = _context(cluster, users[admin]) if parts.scheme == "https" else None
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    @classmethod
    def of_kubeconfig(cls, path: str | Path) -> Remote:
        """The server of a kubeconfig's current context, its user as the administrator.

        Raises:
            UsageError: not a kubeconfig with a current context.
        """
        place = Path(path)
        try:
            document = yaml.safe_load(place.read_text(encoding="utf-8"))
            contexts = {entry["name"]: entry["context"] for entry in document["contexts"]}
            context = contexts[document["current-context"]]
            clusters = {entry["name"]: entry["cluster"] for entry in document["clusters"]}
            users = {entry["name"]: entry.get("user") or {} for entry in document["users"]}
            folder = place.parent
            found = {name: _with_data(user, folder) for name, user in users.items()}
            return cls(_with_data(clusters[context["cluster"]], folder), found, context["user"])
        except OSError as error:
            raise UsageError(f"the kubeconfig cannot be read: {error}", where=str(path)) from error
        except (KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise UsageError(f"no kubeconfig with a current context: {error!r}", where=str(path)) from error

    def kubeconfig(self, user: str = "") -> str:
        """A kubeconfig (JSON, which is YAML) for a user of the given one; '' for the administrator.

        Raises:
            UsageError: there are no credentials for that user.
        """
        name = user or self._admin
        if name not in self._users:
            raise UsageError(
                f"no credentials for the scenario's user {name} on {self.url}",
                limit=f"users of the kubeconfig: {', '.join(sorted(self._users))}",
                next=f"add a user {name} to the kubeconfig",
            )
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": self._cluster}],
            "users": [{"name": "lab", "user": self._users[name]}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": "default"}}],
            "current-context": "lab",
        }
        return json.dumps(document, indent=2) + "\n"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        media: str = "application/json",
        **query: str,
    ) -> Json:
        """Send one request and return the JSON of its answer.

        Raises:
            ApiError: the server refuses, with its code, reason and message.
            OSError, HTTPException: there was no answer.
        """
        target = self._prefix + quote(path) + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": "rollout-lab/1", "Content-Type": media}
        if token := self._users[self._admin].get("token"):
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        status, raw = self._exchange(method, target, data, headers)
        document = _document(raw)
        if status >= 300:
            meant = document or {"message": raw.decode(errors="replace").strip()}
            said = str(meant.get("message", ""))
            raise ApiError(status, str(meant.get("reason", "")), said, meant.get("details"))
        return document

    def close(self) -> None:
        """Close the connections that nobody uses; the next request opens one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, method: str, target: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """On a kept connection; one that the server closed meanwhile is opened anew for a read."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        try:
            return self._once(kept or self._connect(), method, target, data, headers)
        except _BROKEN:
            if kept is None or method != "GET":
                raise
            return self._once(self._connect(), method, target, data, headers)

    def _once(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        data: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        try:
            connection.request(method, target, data, headers)
            answer = connection.getresponse()
            status, raw = answer.status, answer.read()
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        return status, raw

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        return http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT, context=self._tls)


def _document(raw: bytes) -> Json:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _with_data(entry: Mapping[str, Any], folder: Path) -> Json:
    """The same with the content of the files that it names, so that it may be moved."""
    found = dict(entry)
    for key in ("certificate-authority", "client-certificate", "client-key"):
        if path := found.pop(key, ""):
            found.setdefault(f"{key}-data", base64.b64encode((folder / path).read_bytes()).decode())
    if path := found.pop("tokenFile", ""):
        found.setdefault("token", (folder / path).read_text(encoding="utf-8").strip())
    return found


def _context(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        made = ssl.create_default_context()
        if authority := cluster.get("certificate-authority-data"):
            made.load_verify_locations(cadata=base64.b64decode(authority).decode())
        if cluster.get("insecure-skip-tls-verify"):
            made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        if certificate := user.get("client-certificate-data"):
            with tempfile.TemporaryDirectory(prefix="rollout-lab-") as folder:  # the library reads files only
                pair = Path(folder) / "pair.pem"
                pair.touch(mode=0o600)
                pair.write_bytes(base64.b64decode(certificate) + b"\n" + base64.b64decode(user["client-key-data"]))
                made.load_cert_chain(pair)
    except (ssl.SSLError, binascii.Error, ValueError, KeyError) as error:
        raise UsageError(f"the certificates of the kubeconfig cannot be used: {error}") from error
    return made
