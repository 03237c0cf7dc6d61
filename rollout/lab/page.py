"""What a browser finds at the lab's Prometheus: a query box and the answer as a table, without a script."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Prometheus of the lab</title><style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; max-width: 70rem }
input { font: 15px monospace; width: 44rem; max-width: 80%; padding: .3rem }
table { border-collapse: collapse; font: 13px monospace } td, th { text-align: left; padding: .15rem .8rem .15rem 0 }
pre { white-space: pre-wrap }
</style></head><body><h1>Prometheus of the lab</h1>
<p>The HTTP API of a Prometheus, at the lab's time: <code>/prometheus/api/v1/query</code> and so on. This page is not
Prometheus' own; it asks one instant query.</p>
"""
_MOST = 500


def page(ask: Callable[[str], tuple[int, str, bytes]], query: str, place: str) -> bytes:
    """The page, with the answer to a query.

    Args:
        ask: answers an instant query with status, content type and body.
        query: PromQL, '' for none yet.
        place: the path of this page.
    """
    shown = html.escape(query, quote=True)
    field = f'<input name="expr" value="{shown}" placeholder="up" autofocus>'
    box = f'<form action="{place}">{field} <button>Query</button></form>'
    answer = _answer(*ask(query)) if query else f'<p>Try <a href="{place}?expr=up">up</a>.</p>'
    return f"{_HEAD}{box}\n{answer}</body></html>\n".encode()


def _answer(status: int, media: str, body: bytes) -> str:
    if not media.startswith("application/json"):
        return f"<p>{status}</p><pre>{html.escape(body.decode(errors='replace')[:2000])}</pre>"
    document = json.loads(body)
    if document.get("status") != "success":
        kind, said = (html.escape(str(document.get(key))) for key in ("errorType", "error"))
        return f"<p>{kind}</p><pre>{said}</pre>"
    kind, found = document["data"]["resultType"], document["data"]["result"]
    rows = [("", found)] if kind in ("scalar", "string") else [_row(series) for series in found]
    said = f"{len(rows)} of {kind}" + (f", the first {_MOST}" if len(rows) > _MOST else "")
    cells = "".join(_cells(name, value) for name, value in rows[:_MOST])
    return f"<p>{said}</p><table><tr><th>series</th><th>value</th><th>at (UTC)</th></tr>{cells}</table>"


def _row(series: dict[str, Any]) -> tuple[str, Any]:
    labels = dict(series["metric"])
    name = labels.pop("__name__", "")
    inside = ", ".join(f"{key}={json.dumps(value)}" for key, value in sorted(labels.items()))
    return f"{name}{{{inside}}}", series["value"] if "value" in series else series["values"][-1]


def _cells(name: str, point: Any) -> str:
    at = datetime.fromtimestamp(float(point[0]), UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(point[1]))}</td><td>{at}</td></tr>\n"
