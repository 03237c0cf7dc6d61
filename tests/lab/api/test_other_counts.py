"""The rules that the recordings show, at other counts: pages, watches, generations, collections, generated names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.lab.api import Api, Store
from rollout.lab.api.http import HttpRequest

START = datetime(2027, 1, 4, 10, tzinfo=UTC)
CONFIG = "/api/v1/namespaces/default/configmaps"
PEER = "/apis/security.istio.io/v1/namespaces/default/peerauthentications"
names = st.lists(st.from_regex(r"[a-z]([a-z0-9]|-[a-z0-9]){0,6}", fullmatch=True), unique=True, min_size=1, max_size=25)
quick = settings(deadline=None, max_examples=30)


class Server:
    """An API without a socket."""

    def __init__(self) -> None:
        """An empty cluster."""
        self.api = Api(Store(lambda: START))
        self.api.watch_second = 0.02

    def __call__(self, method: str, path: str, body: Any = None, media: str = "application/json") -> tuple[int, Any]:
        """Status and document; the events of a watch as a list."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = self.api.answer(HttpRequest(method, path, {"content-type": [media], "user-agent": ["t/1"]}, data))
        if answer.stream is not None:
            return answer.status, [json.loads(line) for piece in answer.stream for line in piece.splitlines()]
        return answer.status, json.loads(answer.body)

    def make(self, name: str, **labels: str) -> Any:
        """A ConfigMap."""
        status, made = self("POST", CONFIG, {"metadata": {"name": name, "labels": labels}})
        assert status == 201
        return made

    def pages(self, limit: int, selector: str = "") -> Iterator[Any]:
        """All pages of the ConfigMaps."""
        token = ""
        while True:
            more = f"&continue={quote(token)}" if token else ""
            status, page = self("GET", f"{CONFIG}?limit={limit}&labelSelector={quote(selector)}{more}")
            assert status == 200
            yield page
            token = page["metadata"].get("continue") or ""
            if not token:
                return


def named(page: Any) -> list[str]:
    """The names on a page."""
    return [item["metadata"]["name"] for item in page["items"]]


@quick
@given(wanted=names, limit=st.integers(1, 30))
def test_pages_of_any_size_show_one_moment(wanted: list[str], limit: int) -> None:
    """Sorted, full but for the last, each with what remains and the first one's revision; later writes do not show."""
    server = Server()
    for name in wanted:
        server.make(name)
    seen: list[str] = []
    revisions: set[str] = set()
    for number, page in enumerate(server.pages(limit)):
        seen += named(page)
        rest = len(wanted) - len(seen)
        assert (limit if rest else len(named(page))) == len(named(page))
        assert (rest or None) == page["metadata"].get("remainingItemCount")
        revisions.add(page["metadata"]["resourceVersion"])
        server.make(f"zz-later-{number}")
        server("DELETE", f"{CONFIG}/{max(wanted)}")
    assert sorted(wanted) == seen
    assert len(revisions) == 1


@quick
@given(wanted=names, limit=st.integers(1, 30), odd=st.integers(0, 25))
def test_selected_pages_do_not_tell_what_remains(wanted: list[str], limit: int, odd: int) -> None:
    """Only what matches, in order, and no remainingItemCount."""
    server = Server()
    for index, name in enumerate(wanted):
        server.make(name, side="left" if index < odd else "right")
    pages = list(server.pages(limit, "side=left"))
    assert sorted(wanted[:odd]) == [name for page in pages for name in named(page)]
    assert not any("remainingItemCount" in page["metadata"] for page in pages)


@quick
@given(writes=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20))
def test_a_watch_tells_every_change_in_order(writes: list[tuple[str, bool]]) -> None:
    """ADDED, MODIFIED, DELETED as the writes were, with rising revisions; from a later revision only the rest."""
    server = Server()
    start = server("GET", CONFIG)[1]["metadata"]["resourceVersion"]
    there: set[str] = set()
    expected: list[tuple[str, str]] = []
    for number, (name, remove) in enumerate(writes):
        if name not in there:
            server.make(name)
            there.add(name)
            expected.append(("ADDED", name))
        elif remove:
            server("DELETE", f"{CONFIG}/{name}")
            there.discard(name)
            expected.append(("DELETED", name))
        else:
            patch = {"data": {"n": str(number)}}
            server("PATCH", f"{CONFIG}/{name}", patch, "application/merge-patch+json")
            expected.append(("MODIFIED", name))
    _, events = server("GET", f"{CONFIG}?watch=1&timeoutSeconds=1&resourceVersion={start}")
    assert expected == [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert sorted(set(revisions)) == revisions
    half = len(events) // 2
    since = str(revisions[half - 1]) if half else start
    _, rest = server("GET", f"{CONFIG}?watch=1&timeoutSeconds=1&resourceVersion={since}")
    assert events[half:] == rest


@quick
@given(changes=st.lists(st.sampled_from(["STRICT", "PERMISSIVE", "label", "nothing"]), max_size=15))
def test_the_generation_counts_changes_of_the_spec(changes: list[str]) -> None:
    """A label does not count, a mode that was there already does not even make a revision."""
    server = Server()
    spec = {"mtls": {"mode": "PERMISSIVE"}}
    body = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "d"}, "spec": spec}
    _, obj = server("POST", PEER, body)
    for number, change in enumerate(changes):
        before, mode = obj["metadata"], obj["spec"]["mtls"]["mode"]
        patch: Any = {"spec": {"mtls": {"mode": change}}}
        if change == "label":
            patch = {"metadata": {"labels": {"n": str(number)}}}
        elif change == "nothing":
            patch = {}
        status, obj = server("PATCH", f"{PEER}/d", patch, "application/merge-patch+json")
        flipped = change in ("STRICT", "PERMISSIVE") and change != mode
        assert (200, before["generation"] + flipped) == (status, obj["metadata"]["generation"])
        moved = int(obj["metadata"]["resourceVersion"]) > int(before["resourceVersion"])
        assert (flipped or change == "label") == moved


@quick
@given(wanted=names, odd=st.integers(0, 25))
def test_a_collection_is_deleted_as_selected(wanted: list[str], odd: int) -> None:
    """The answer lists what went; the others stay."""
    server = Server()
    for index, name in enumerate(wanted):
        server.make(name, side="left" if index < odd else "right")
    status, gone = server("DELETE", f"{CONFIG}?labelSelector=side%3Dleft")
    assert (200, sorted(wanted[:odd])) == (status, named(gone))
    assert sorted(wanted[odd:]) == named(server("GET", CONFIG)[1])


@quick
@given(count=st.integers(1, 40))
def test_generated_names_are_different(count: int) -> None:
    """As many objects as were asked for, each with the prefix and five characters more."""
    server = Server()
    made = [server("POST", CONFIG, {"metadata": {"generateName": "run-"}})[1]["metadata"]["name"] for _ in range(count)]
    assert sorted(set(made)) == named(server("GET", CONFIG)[1])
    assert {("run-", 9)} == {(name[:4], len(name)) for name in made}
