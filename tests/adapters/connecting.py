"""What the Kubernetes adapter needs to connect: a kubeconfig file, and a server that says what kinds it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: What the server says at /api/v1.
CORE = {"resources": [{"name": name} for name in ("pods", "configmaps", "namespaces")]}


def kubeconfig(
    folder: Path,
    server: str = "https://api.example:6443/",
    user: Mapping[str, Any] | None = None,
    *,
    name: str = "config",
    cluster: Mapping[str, Any] | None = None,
    **more: Any,
) -> str:
    """Write the file `name`: context test, user ana with a token; `more` are keys at its top. Its path."""
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "ana", "user": {"token": "secret-token"} if user is None else user}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "ana"}}],
        "current-context": "test",
        **more,
    }
    path = folder / name
    path.write_text(json.dumps(document))
    return str(path)
