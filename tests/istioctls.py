"""Executables that behave as istioctl's versions do (istio.md 8), for whoever starts one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: The program reads what to say from `answers.json` beside it, and writes down how it was called.
PROGRAM = """#!{python}
import json, pathlib, sys, time
here = pathlib.Path({folder!r})
with open(here / "calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
argv = sys.argv[1:]
verb = argv[0]
form = "json" if "-o" in argv else "text"
if verb == "proxy-status" and len(argv) > 1 and not argv[1].startswith("-"):
    form = "diff"
answers = json.loads((here / "answers.json").read_text())
answer = answers.get(verb + " " + form) or answers.get(verb)
if answer is None:
    answer = {{"code": 1, "err": "Error: unknown command"}}
sys.stdout.write(answer.get("out", ""))
sys.stdout.flush()
sys.stderr.write(answer.get("err", ""))
time.sleep(answer.get("sleep", 0))
sys.exit(answer.get("code", 0))
"""
#: What cobra says of a flag that a version does not have.
OLD = {"code": 1, "err": "Error: unknown shorthand flag: 'o' in -o\n"}


def made(folder: Path, answers: Mapping[str, Mapping[str, Any]]) -> str:
    """An executable; `answers` are `{out, err, code, sleep}` by verb, or by verb and form: json, text, diff."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers.json").write_text(json.dumps(answers))
    path = folder / "istioctl"
    path.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
    path.chmod(0o700)
    return str(path)


def calls(folder: Path) -> list[list[str]]:
    """How it was called."""
    path = folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def client(pod: str, cluster: str = "Kubernetes", sent: str = "2026-03-02T11:00:00Z", **words: str) -> dict[str, Any]:
    """A proxy of `proxy-status -o json`; `words` by LDS, CDS, …, SYNCED where nothing is said."""
    urls = {
        "CDS": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "LDS": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "EDS": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "RDS": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    }
    configs: list[dict[str, Any]] = []
    for name, url in urls.items():
        word = words.get(name, "SYNCED")
        config: dict[str, Any] = {"typeUrl": url, "configStatus": word, "lastUpdated": sent}
        if word == "ERROR":
            config["errorState"] = {"details": "Error adding/updating listener(s) virtualInbound: bad filter"}
        configs.append(config)
    return {
        "@type": "type.googleapis.com/envoy.service.status.v3.ClientConfig",
        "node": {"id": pod, "metadata": {"CLUSTER_ID": cluster, "ISTIO_VERSION": "1.27.3"}},
        "genericXdsConfigs": configs,
    }


def documents(*istiods: Iterable[Mapping[str, Any]]) -> str:
    """The answer of each istiod, one after the other; none of them is left out, however few its proxies are."""
    texts = []
    for number, clients in enumerate(istiods, 1):
        identifier = {"Component": "istiod", "ID": f"istiod-{number}", "Info": {"version": "1.27.3"}}
        response = {
            "versionInfo": "1.27.3",
            "resources": list(clients),
            "typeUrl": "type.googleapis.com/envoy.service.status.v3.ClientConfig",
            "controlPlane": {"identifier": json.dumps(identifier)},
        }
        texts.append(json.dumps(response, indent=4) + "\n")
    return "".join(texts)


def table(*rows: Iterable[str]) -> str:
    """Cells in columns with five blanks between them, as Go's tabwriter sets them."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) + 5 for column in zip(*cells, strict=True)]
    lines = ("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def message(code: str, level: str, origin: str, text: str = "what is wrong") -> dict[str, str]:
    """One of `analyze -o json`."""
    page = f"https://istio.io/latest/docs/reference/config/analysis/{code.lower()}/"
    return {"code": code, "level": level, "origin": origin, "message": text, "documentationUrl": page}
