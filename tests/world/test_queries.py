"""Every text of the registry: it parses, keeps to its scope, and says what the rules demand."""

from __future__ import annotations

import re

import promql_parser
import pytest

from rollout.lab.promql import compile as lab
from rollout.model.traffic import Family
from rollout.world import queries, scrapes
from rollout.world.promql import BARE
from rollout.world.queries import REGISTRY, SAMPLES, Counter, Scope, SightMetric, escape, examples, quote

TEXTS = list(examples())


def test_every_public_query_is_registered_with_samples() -> None:
    """Or the parity suite would not see it."""
    functions = {
        name
        for module in (queries, scrapes)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__
    }
    public = {name for name in functions if name[0].islower()} - {"ways"}
    assert public == set(REGISTRY)
    assert all(SAMPLES[name] for name in REGISTRY)


@pytest.mark.parametrize(("name", "text"), TEXTS)
def test_every_text_parses(name: str, text: str) -> None:
    """With the parser of Prometheus' grammar, and in the lab."""
    promql_parser.parse(text)
    lab.compile_query(text)


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, t in TEXTS if "payments" in t])
def test_every_selector_carries_the_match_and_the_namespaces(name: str, text: str) -> None:
    """One Prometheus may hold many clusters."""
    selectors = re.findall(r"\{[^{}]*\}", text)
    assert selectors
    assert all('cluster="eu1"' in selector for selector in selectors)
    if name not in ("passthrough", "reset", "watched", "unlabelled"):
        assert all("payments" in selector for selector in selectors)


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, t in TEXTS if "connection_security_policy" in t])
def test_policies_are_asked_of_the_destination_and_never_as_none(name: str, text: str) -> None:
    """At the source it is always unknown; ztunnel says unknown for plaintext."""
    assert 'connection_security_policy="none"' not in text
    dropped = 'connection_security_policy=~"mutual_tls|none"' in text or 'connection_security_policy="unknown"' in text
    assert 'reporter=~"destination|waypoint"' in text or dropped or name in ("unlabelled", "unattributed")


@pytest.mark.parametrize("name", [name for name in REGISTRY if any(BARE in args for args in SAMPLES[name])])
def test_without_the_label_no_report_is_chosen_by_it(name: str) -> None:
    """Only a report that has it is left out by it."""
    for arguments in (args for args in SAMPLES[name] if BARE in args):
        text = REGISTRY[name](*arguments)
        assert 'reporter="source"' not in text
        assert 'reporter=~"destination' not in text


def test_names_are_escaped_in_expressions_and_strings() -> None:
    """A dot is a dot, a quote ends nothing."""
    assert quote('a"b\\c') == '"a\\"b\\\\c"'
    assert escape("a.b|c") == "a\\.b\\|c"
    text = queries.volume(Scope(("a.b", "c")), Family.HTTP, 60)
    assert 'destination_workload_namespace=~"a\\\\.b|c"' in text
    promql_parser.parse(text)


def test_a_match_may_come_with_braces() -> None:
    """As people copy it from a dashboard."""
    text = queries.sight(Scope(("a",), '{cluster="eu1",}'), SightMetric.UPTIME)
    assert text == 'max by (namespace, pod) (timestamp(envoy_server_uptime{namespace="a",cluster="eu1"}))'


def test_the_listener_counters_can_be_asked_earlier() -> None:
    """Value now, and value at an offset."""
    scope = Scope(("a",))
    assert queries.listeners(scope, Counter.TAKEN, 90).endswith(" offset 90s)")
    assert "offset" not in queries.listeners(scope, Counter.TAKEN)
