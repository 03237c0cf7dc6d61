"""Which cluster, as whom: files, contexts, exec plugins."""

from __future__ import annotations

import base64
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters import kubeconfig, process
from rollout.adapters.kubeconfig import Access, access, token_expiry
from rollout.errors import Unauthorized, UsageError
from tests.adapters import connecting


def write(folder: Path, user: dict[str, Any], name: str = "config", **more: Any) -> str:
    """A kubeconfig file."""
    return connecting.kubeconfig(folder, user=user, name=name, **more)


def plugin(code: str, **more: Any) -> dict[str, Any]:
    """A user whose credentials come from a Python program."""
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": sys.executable, "args": ["-c", code], **more}}


def jwt(end: datetime) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(end.timestamp())}).encode()).rstrip(b"=").decode()
    return f"e30.{claims}.c2ln"


def test_a_token_with_its_end(tmp_path: Path) -> None:
    """A JWT tells; any other token does not."""
    end = datetime(2030, 1, 1, tzinfo=UTC)
    found = access(write(tmp_path, {"token": jwt(end)}), None)
    assert (found.context, found.server, found.user) == ("test", "https://api.example:6443", "ana")
    assert (found.expires, found.renews) == (end, False)
    assert token_expiry("opaque") is None
    assert token_expiry("a.b.c") is None


def test_several_files_are_merged(tmp_path: Path) -> None:
    """As KUBECONFIG names them; missing ones do not matter as long as there is one."""
    first = write(tmp_path, {"token": "t"}, "a")
    second = write(
        tmp_path, {"token": "t"}, "b", contexts=[{"name": "two", "context": {"cluster": "c", "user": "ana"}}]
    )
    paths = os.pathsep.join([first, str(tmp_path / "missing"), second])
    assert access(None, "two", {"KUBECONFIG": paths}).context == "two"


@pytest.mark.parametrize("environ", [{"KUBECONFIG": "/nosuch/config"}, {"HOME": "/nosuch"}])
def test_no_file(environ: dict[str, str]) -> None:
    """The place is named."""
    with pytest.raises(UsageError, match="no kubeconfig") as error:
        access(None, None, environ)
    assert "/nosuch" in error.value.where


def test_a_named_file_does_not_fall_back_to_the_pod(tmp_path: Path) -> None:
    """Another cluster than the one that was asked for would be the worst answer."""
    with pytest.raises(UsageError, match="no kubeconfig"):
        access(str(tmp_path / "missing"), None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})


def test_a_pod_without_a_service_account() -> None:
    """In the cluster but without its token."""
    with pytest.raises(UsageError, match="service account"):
        access(None, None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOME": "/nosuch"})


def test_an_unknown_context_lists_the_known_ones(tmp_path: Path) -> None:
    """Also when no current one is set."""
    path = write(tmp_path, {"token": "t"})
    with pytest.raises(UsageError, match="'nosuch'") as error:
        access(path, "nosuch")
    assert error.value.limit == "contexts: test"
    with pytest.raises(UsageError, match="no current context"):
        access(write(tmp_path, {}, **{"current-context": ""}), None)


@pytest.mark.parametrize("text", ["", "{", "[]", "a: [", "contexts: 3\ncurrent-context: x\n"])
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, text: str) -> None:
    """A sentence, whatever it holds."""
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(UsageError):
        access(str(path), None)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\xff\xfe", "the kubeconfig is not UTF-8"),
        (b"[]", "the file is no kubeconfig"),
        (b"text", "the file is no kubeconfig"),
        (b"contexts: [1]\n", "the file is no kubeconfig"),
    ],
)
def test_a_sentence_about_the_file_not_about_python(tmp_path: Path, data: bytes, problem: str) -> None:
    """What the library stumbles over is no help."""
    path = tmp_path / "config"
    path.write_bytes(data)
    with pytest.raises(UsageError) as error:
        access(str(path), None)
    assert (problem, str(path)) == (error.value.problem, error.value.where)


def test_a_directory_is_called_one(tmp_path: Path) -> None:
    """It is there, and still no kubeconfig."""
    with pytest.raises(UsageError, match="is a directory"):
        access(str(tmp_path), None)


def test_a_context_whose_cluster_is_missing(tmp_path: Path) -> None:
    """A sentence too."""
    with pytest.raises(UsageError, match="cannot be used"):
        access(write(tmp_path, {"token": "t"}, clusters=[]), None)


def token(found: Access) -> str | None:
    """What a request would send, by either name that the client's versions have for it."""
    name = "authorization" if "authorization" in found.configuration.api_key else "BearerToken"
    sent: str | None = found.configuration.get_api_key_with_prefix(name)
    return sent


def credential(value: str, ends: str = "") -> str:
    """Code of a plugin that prints one."""
    status = {"token": value, **({"expirationTimestamp": ends} if ends else {})}
    document = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(json.dumps(document))})"


def test_a_plugin_gives_the_token_and_its_end(tmp_path: Path) -> None:
    """And is able to give another one."""
    found = access(write(tmp_path, plugin(credential("from-plugin", "2030-01-01T00:00:00Z"))), None)
    assert token(found) == "Bearer from-plugin"
    assert (found.expires, found.renews) == (datetime(2030, 1, 1, tzinfo=UTC), True)


def test_a_short_lived_token_is_kept_until_its_last_minute(tmp_path: Path) -> None:
    """The library would run the plugin for every request."""
    log = tmp_path / "runs"
    ends = (datetime.now(UTC) + timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    code = f"open({str(log)!r}, 'a').write('x'); {credential('t', ends)}"
    found = access(write(tmp_path, plugin(code)), None)
    for _ in range(3):
        token(found)
    assert log.read_text() == "x"


def test_an_ending_token_is_fetched_anew(tmp_path: Path) -> None:
    """A minute before."""
    log = tmp_path / "runs"
    ends = (datetime.now(UTC) + timedelta(seconds=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    code = f"open({str(log)!r}, 'a').write('x'); {credential('t', ends)}"
    token(access(write(tmp_path, plugin(code)), None))
    assert log.read_text() == "xx"


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        (plugin("import sys; sys.exit('token has expired, sign in')"), "exit code 1: token has expired"),
        (plugin("print('nonsense')"), "no ExecCredential"),
        (plugin("print('{\"status\": {}}')"), "without token"),
        ({"exec": {"apiVersion": "v1", "command": "nosuch-plugin", "installHint": "get it"}}, "cannot be started"),
    ],
)
def test_a_plugin_that_fails_is_an_error(tmp_path: Path, user: dict[str, Any], problem: str) -> None:
    """Not a request without credentials, as the library has it."""
    with pytest.raises(Unauthorized, match=problem):
        access(write(tmp_path, user), None)


def test_a_plugin_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its grandchild, which keeps the output open, does not hold us."""
    monkeypatch.setattr(kubeconfig, "PLUGIN_LIMIT", 0.3)
    code = "import subprocess, time; subprocess.Popen(['sleep', '3']); time.sleep(3)"
    with pytest.raises(Unauthorized, match="did not end") as error:
        access(write(tmp_path, plugin(code)), None)
    assert "-c" not in "".join(error.value.lines())


def test_a_program_is_given_its_environment_and_output_is_kept_apart(tmp_path: Path) -> None:
    """Exit status, stdout, stderr."""
    code = "import os, sys; print(os.environ['X']); print('e', file=sys.stderr); sys.exit(3)"
    done = process.run([sys.executable, "-c", code], limit=20, env={"X": "y"}, cwd=str(tmp_path))
    assert (done.code, done.out, done.err) == (3, b"y\n", "e")


def test_a_plugin_may_give_a_certificate(tmp_path: Path) -> None:
    """It goes to private files for the TLS library."""
    status = {"clientCertificateData": "CERT", "clientKeyData": "KEY"}
    code = f"print({json.dumps(json.dumps({'status': status}))})"
    found = access(write(tmp_path, plugin(code)), None)
    assert Path(found.configuration.cert_file).read_text() == "CERT"
    assert Path(found.configuration.key_file).read_text() == "KEY"
    assert found.expires is None


def test_a_plugin_is_told_the_cluster_when_it_wants_to_know(tmp_path: Path) -> None:
    """provideClusterInfo, in the folder of the kubeconfig, with its own variables."""
    log = tmp_path / "seen"
    code = (
        f"import json, os; info = json.loads(os.environ['KUBERNETES_EXEC_INFO']); "
        f"said = (info['spec']['cluster']['server'], os.environ['X'], os.getcwd()); "
        f"open({str(log)!r}, 'w').write(' '.join(said)); " + credential("t")
    )
    access(write(tmp_path, plugin(code, provideClusterInfo=True, env=[{"name": "X", "value": "y"}])), None)
    assert log.read_text() == f"https://api.example:6443/ y {tmp_path}"
