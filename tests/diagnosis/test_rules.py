"""The listing of DestinationRules: what the grep for `tls:` shows, and whom each is for."""

from __future__ import annotations

from rollout.diagnosis.rules import SHOWN, listing
from rollout.model.istio import DestinationRule
from rollout.model.kubernetes import Object
from tests.diagnosis.answers import MESH
from tests.diagnosis.makers import rule, service, space, world

SPACES = (space("payments"), space("shop"), space("web"))


def listed(*objects: Object, unreadable: dict[type[Object], str] | None = None) -> tuple[str, ...]:
    """For payments, with its Service ledger."""
    return listing(world(*SPACES, service(), *objects, unreadable=unreadable), "payments", MESH)


def test_the_place_the_mode_and_who_is_affected() -> None:
    """In the client's namespace it is for its clients alone; in the Service's, for all who have none of their own."""
    port = {"portLevelSettings": [{"port": {"number": 8080}, "tls": {"mode": "SIMPLE"}}]}
    subset = rule(None, "payments", "own", subsets=[{"name": "v1", "trafficPolicy": port}])
    place = "spec.subsets[v1].trafficPolicy.portLevelSettings[8080].tls.mode"
    assert (
        f"DestinationRule payments/own: for ledger, {place} SIMPLE, used by clients in payments, web",
        "DestinationRule shop/rule: for ledger, spec.trafficPolicy.tls.mode ISTIO_MUTUAL, used by clients in shop",
    ) == listed(rule("ISTIO_MUTUAL"), subset)


def test_a_rule_for_some_clients_says_so() -> None:
    """Of its namespace; the others have the next match."""
    some = rule("DISABLE", workloadSelector={"matchLabels": {"app": "web"}})
    (line,) = listed(some)
    assert line.endswith("DISABLE, used by clients in shop, those that its workloadSelector matches")


def test_none_is_said() -> None:
    """A rule without tls, and one for another host, say nothing of what clients send here."""
    other = rule("DISABLE", host="other.payments.svc.cluster.local")
    assert ("no DestinationRule with tls is for a Service of payments",) == listed(rule(None), other)


def test_many_leave_room_for_the_rest_of_the_layer() -> None:
    """What turns mutual TLS off goes before what asks for it."""
    subsets = [{"name": f"v{n}", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}} for n in range(SHOWN)]
    lines = listed(rule(None, subsets=[*subsets, {"name": "old", "trafficPolicy": {"tls": {}}}]))
    assert "subsets[old].trafficPolicy.tls.mode DISABLE" in lines[0]
    assert [SHOWN + 1, "and 1 more tls: kubectl get destinationrules -A -o yaml"] == [len(lines), lines[-1]]


def test_rules_that_cannot_be_read() -> None:
    """The check says so; an empty listing does not claim that there are none."""
    assert () == listed(unreadable={DestinationRule: "not permitted"})
