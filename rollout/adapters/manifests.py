"""The manifest of a change for somebody else's controller: a file in the run's folder, and an edit of a repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from rollout.record.change import Change

#: A bigger file is no manifest that a person wrote.
LARGEST = 1_000_000


class Manifests:
    """Proposals as files.

    Args:
        folder: the runs' folder.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is written yet."""
        self._folder = folder

    def propose(self, run: str, repo: str, change: Change) -> tuple[str, ...]:
        """Write what is to be committed; the sentences say where. The same proposal again says nothing.

        Args:
            run: its id.
            repo: a working copy ('' for none) in which the one document of this object is edited.
            change: of a mode.
        """
        mode = str(change.after.mode) if change.after and change.after.mode else ""
        path = self._folder / run / f"{mode.lower()}.yaml"
        text = _manifest(change, mode)
        said: list[str] = []
        try:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                said.append(f"to commit: spec.mtls.mode: {mode} of {change.ref} (manifest: {path})")
        except OSError as error:
            said.append(f"to commit: spec.mtls.mode: {mode} of {change.ref} ({path}: {error.strerror})")
        return (*said, *(_edited(Path(repo), change, mode) if repo else ()))


def _manifest(change: Change, mode: str) -> str:
    body = {
        "apiVersion": "security.istio.io/v1",
        "kind": change.ref.kind,
        "metadata": {"name": change.ref.name, "namespace": change.ref.namespace},
        "spec": {"mtls": {"mode": mode}},
    }
    return yaml.safe_dump(body, sort_keys=False)


def _edited(repo: Path, change: Change, mode: str) -> tuple[str, ...]:
    """Replace the one word in the one place; everything else of the file stays as it is, comments too."""
    if not repo.is_dir():
        return (f"{repo} is no folder here: commit the manifest by hand",)
    places = list(_places(repo, change))
    if len(places) != 1:
        found = ", ".join(str(path) for path, _ in places) or "no file"
        return (f"{found} of {repo} holds spec.mtls.mode of {change.ref}; one is needed: commit the manifest by hand",)
    path, node = places[0]
    if node.value == mode:
        return ()
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text[: node.start_mark.index] + mode + text[node.end_mark.index :], encoding="utf-8")
    except OSError as error:
        return (f"{path} cannot be written ({error.strerror}): commit the manifest by hand",)
    return (f"{path}:{node.start_mark.line + 1} says {mode} now: commit and push it",)


def _places(repo: Path, change: Change) -> Iterator[tuple[Path, ScalarNode]]:
    for path in sorted(repo.rglob("*.y*ml")):
        if ".git" in path.relative_to(repo).parts or not path.is_file() or path.stat().st_size > LARGEST:
            continue
        try:
            documents = list(yaml.compose_all(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader))
        except (yaml.YAMLError, UnicodeDecodeError, OSError):
            continue  # a template of Helm's, or no text
        for document in documents:
            if _text(document, "kind") == change.ref.kind and _text(document, "metadata", "name") == change.ref.name:
                namespace = _text(document, "metadata", "namespace")
                mode = _at(document, "spec", "mtls", "mode")
                if namespace in ("", change.ref.namespace) and isinstance(mode, ScalarNode):
                    yield path, mode


def _at(node: Node | None, *keys: str) -> Node | None:
    for key in keys:
        if not isinstance(node, MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node


def _text(node: Node | None, *keys: str) -> str:
    found = _at(node, *keys)
    return str(found.value) if isinstance(found, ScalarNode) else ""
