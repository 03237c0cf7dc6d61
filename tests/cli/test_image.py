"""The Dockerfile, read: pinned, small, without root, and with everything that the wheel needs."""

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from rollout.cli import manifests

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def stages() -> list[list[tuple[str, str]]]:
    """Instruction and arguments, stage by stage; what stands before the first FROM is the first list."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = [[]]
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest.strip()))
    return found


def test_one_pinned_base_for_both_stages() -> None:
    """By tag and digest; the tag is a slim Python that the project allows."""
    before, *built = stages()
    ((word, base),) = before
    name, _, image = base.partition("=")
    assert ("ARG", "PYTHON") == (word, name)
    match = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-[a-z]+@sha256:[0-9a-f]{64}", image)
    assert match is not None, image
    assert SpecifierSet(PROJECT["requires-python"]).contains(match[1])
    assert {"${PYTHON}"} == {stage[0][1].partition(" ")[0] for stage in built}


def test_the_image_runs_rollout_as_the_manifests_user() -> None:
    """No root, and a home that the manifests mount over."""
    last = dict(stages()[-1])
    assert f"{manifests.USER}:{manifests.USER}" == last["USER"]
    assert manifests.USER > 0
    assert manifests.STATE == last["WORKDIR"]
    assert f"XDG_STATE_HOME={manifests.STATE}" in last["ENV"].split()
    assert '["rollout"]' == last["ENTRYPOINT"]
    assert "rollout" in PROJECT["scripts"]


def ignored(path: str) -> bool:
    """As .dockerignore says: the last pattern that matches the path or a folder above it."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    out = False
    for line in filter(None, lines):
        if line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        names = parts if "**/" in line else above
        if any(fnmatch.fnmatchcase(name, pattern) and (pattern != "*" or "/" not in name) for name in names):
            out = not line.startswith("!")
    return out


@pytest.mark.parametrize(
    "path", [".git/config", ".venv/bin/python", "tests/cli/test_image.py", "docs/kind/up", "rollout/__pycache__/a.pyc"]
)
def test_the_context_is_only_what_the_wheel_is_made_of(path: str) -> None:
    """Neither history nor tests nor caches."""
    assert ignored(path)


def test_everything_that_is_copied_is_there_and_in_the_context() -> None:
    """Also what the build reads by pyproject.toml."""
    copied = {word for stage in stages() for name, rest in stage if name == "COPY" and "--from" not in rest
              for word in rest.split()[:-1]}  # fmt: skip
    assert {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], "rollout", "playbooks"} <= copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert not ignored(path), path


def test_what_is_installed_is_pinned_to_what_the_project_allows() -> None:
    """Every dependency has one version in the constraints, and so has what builds the wheel."""
    lines = (ROOT / ".ci" / "image-constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = {canonicalize_name(pin.name): next(iter(pin.specifier)) for pin in pins}
    assert {"=="} == {version.operator for version in versions.values()}
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    for wanted in map(Requirement, [*PROJECT["dependencies"], *built]):
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)].version), wanted
