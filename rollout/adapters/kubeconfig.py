"""Which cluster, as whom: kubeconfig, exec plugins with a time limit, in-cluster credentials.

The client library runs exec plugins without a time limit, logs their failure and goes on without credentials, and
runs them for every request when a token lives for less than five minutes (facts: libraries.md 1.3, Auth).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from rollout.adapters import process
from rollout.errors import ClusterError, Unauthorized, UsageError

#: Seconds that a plugin may take; a browser login fits.
PLUGIN_LIMIT = 60.0
#: A token is fetched anew this long before its end.
EARLY = timedelta(seconds=60)


class Access(msgspec.Struct, frozen=True):
    """The client's Configuration, and what is known of it; `expires` None when nobody can tell."""

    configuration: Any
    context: str
    server: str
    user: str
    expires: datetime | None
    renews: bool


class Credential(msgspec.Struct, frozen=True, rename="camel"):
    """status of an ExecCredential."""

    token: str = ""
    expiration_timestamp: datetime | None = None
    client_certificate_data: str = ""
    client_key_data: str = ""


class _ExecCredential(msgspec.Struct, frozen=True):
    status: Credential | None = None


def access(kubeconfig: str | None, context: str | None, environ: Mapping[str, str] = os.environ) -> Access:
    """Load as kubectl does: --kubeconfig, $KUBECONFIG, ~/.kube/config, then the pod's own service account.

    Raises:
        UsageError: no such file or context, or it cannot be read.
        Unauthorized: the exec plugin failed or took too long.
    """
    paths = kubeconfig or environ.get("KUBECONFIG") or str(Path(environ.get("HOME", "~")).expanduser() / ".kube/config")
    found = [path for path in paths.split(os.pathsep) if path and Path(path).expanduser().is_file()]
    if found:
        return _from_files(os.pathsep.join(found), context)
    if not kubeconfig and not context and environ.get("KUBERNETES_SERVICE_HOST"):
        return _in_cluster()
    if any(Path(path).expanduser().is_dir() for path in paths.split(os.pathsep) if path):
        raise UsageError("the kubeconfig is a directory", where=paths, next="--kubeconfig FILE, such as its config")
    raise UsageError("there is no kubeconfig file", where=paths, next="--kubeconfig FILE, or export KUBECONFIG=FILE")


def _in_cluster() -> Access:
    from kubernetes import client, config

    library: Any = config
    configuration = client.Configuration()
    try:
        library.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise UsageError(f"the pod has no usable service account: {error}", where="in the cluster") from error
    return Access(configuration, "in-cluster", configuration.host, "", None, renews=True)


def _from_files(paths: str, context: str | None) -> Access:
    import yaml
    from kubernetes import client, config
    from kubernetes.config import kube_config

    library: Any = kube_config
    try:
        merged = library.KubeConfigMerger(paths)
        if merged.config is None:
            raise UsageError("the kubeconfig file is empty", where=paths)
        name = context or merged.config.value.get("current-context") or ""
        _known(merged.config.value, name, paths)
        loader = _loader()(
            config_dict=merged.config,
            active_context=name,
            config_base_path=None,
            config_persister=merged.save_changes,
        )
        configuration = client.Configuration()
        loader.load_and_set(configuration)
    except UnicodeDecodeError as error:
        raise UsageError("the kubeconfig is not UTF-8", where=paths, next="save it as UTF-8") from error
    except (AttributeError, KeyError, TypeError) as error:  # the library takes its shape for granted
        raise UsageError(
            "the file is no kubeconfig",
            limit="a mapping with clusters, users, contexts and current-context",
            where=paths,
            next="kubectl config view --kubeconfig FILE",
        ) from error
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError) as error:
        raise UsageError(f"the kubeconfig cannot be used: {error}", where=paths) from error
    user = loader.user_name
    expires = getattr(loader, "expiry", None) or token_expiry(_token(configuration))
    return Access(configuration, name, configuration.host, user, _utc(expires), renews=loader.renews)


def _known(merged: dict[str, Any], name: str, paths: str) -> None:
    names = sorted(str(entry["name"]) for entry in merged.get("contexts") or [] if "name" in entry)
    if not name:
        raise UsageError(
            "the kubeconfig has no current context",
            limit=f"contexts: {', '.join(names) or 'none'}",
            where=paths,
            next="kubectl config get-contexts, then --context NAME",
        )
    if name not in names:
        raise UsageError(
            f"the kubeconfig has no context {name!r}",
            limit=f"contexts: {', '.join(names) or 'none'}",
            where=paths,
            next="kubectl config get-contexts, then --context NAME",
        )


def _token(configuration: Any) -> str:
    """The client's version 35 has it under another name."""
    keys = configuration.api_key
    return str(keys.get("BearerToken") or keys.get("authorization") or "")


def _utc(at: datetime | None) -> datetime | None:
    if at is None:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def token_expiry(token: str) -> datetime | None:
    """`exp` of a JWT; None for any other token."""
    parts = token.removeprefix("Bearer ").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError):
        return None


@lru_cache(maxsize=1)
def _loader() -> Any:
    """KubeConfigLoader with exec plugins run by us."""
    from kubernetes.config import kube_config

    library: Any = kube_config

    class Loader(library.KubeConfigLoader):  # type: ignore[misc]
        """The library's, but a plugin has a time limit, its failure is an error, and its token is kept."""

        credential: Credential | None = None

        @property
        def user_name(self) -> str:
            """The context's user."""
            return str(self._current_context["context"].safe_get("user") or "")

        @property
        def renews(self) -> bool:
            """The credentials are fetched anew when they end."""
            return bool(self._user and ("exec" in self._user or "auth-provider" in self._user))

        def _load_from_exec_plugin(self) -> bool | None:
            if "exec" not in self._user:
                return None
            now = datetime.now(UTC)
            ends = self.credential.expiration_timestamp if self.credential else None
            if self.credential is None or (ends is not None and ends - now < EARLY):
                folder = self._get_base_path(self._cluster.path)
                self.credential = run_plugin(self._user["exec"].value, self._cluster.value, folder)
            status = self.credential
            if status.token:
                self.token = f"Bearer {status.token}"
            if status.client_certificate_data:
                self.cert_file = _private_file(status.client_certificate_data)
                self.key_file = _private_file(status.client_key_data)
            if status.expiration_timestamp:
                self.expiry = status.expiration_timestamp
            return True

    return Loader


def _private_file(text: str) -> str:
    """A file for the TLS library, deleted at the process' end."""
    from kubernetes.config import kube_config

    library: Any = kube_config
    return str(library.FileOrData({"text": text}, None, data_key_name="text", base64_file_content=False).as_file())


def run_plugin(spec: Mapping[str, Any], cluster: Mapping[str, Any], folder: str | None) -> Credential:
    """Run an exec credential plugin (client.authentication.k8s.io).

    Raises:
        Unauthorized: it cannot be started, failed, took longer than `PLUGIN_LIMIT`, or printed something else.
    """
    argv = [str(spec.get("command", "")), *map(str, spec.get("args") or [])]
    terminal = os.isatty(0) and os.isatty(2) and spec.get("interactiveMode") != "Never"
    info: dict[str, Any] = {"interactive": terminal}
    if spec.get("provideClusterInfo"):
        info["cluster"] = dict(cluster)
    env = {**os.environ, **{item["name"]: item["value"] for item in spec.get("env") or []}}
    wanted = {"apiVersion": spec.get("apiVersion", ""), "kind": "ExecCredential", "spec": info}
    env["KUBERNETES_EXEC_INFO"] = json.dumps(wanted)
    try:
        done = process.run(argv, limit=PLUGIN_LIMIT, env=env, cwd=folder or None, terminal=terminal)
    except OSError as error:
        hint = str(spec.get("installHint") or "install it, or choose another --context")
        raise _plugin(argv, f"cannot be started: {error.strerror}", hint) from error
    if done.code is None:
        raise _plugin(argv, f"did not end within {PLUGIN_LIMIT:.0f} s", "run it by hand: does it wait for a login?")
    if done.code:
        raise _plugin(argv, f"failed with exit code {done.code}: {done.err[-300:] or 'it said nothing'}")
    try:
        status = msgspec.json.decode(done.out, type=_ExecCredential).status
    except msgspec.MsgspecError as error:
        raise _plugin(argv, "printed something that is no ExecCredential") from error
    if status is None or not (status.token or (status.client_certificate_data and status.client_key_data)):
        raise _plugin(argv, "printed an ExecCredential without token or certificate")
    return status


def _plugin(argv: list[str], problem: str, hint: str = "sign in again, or run it by hand to see more") -> ClusterError:
    """Arguments may hold secrets, so only the program is named."""
    return Unauthorized(f"the credential plugin {Path(argv[0]).name!r} {problem}", where=argv[0], next=hint)
