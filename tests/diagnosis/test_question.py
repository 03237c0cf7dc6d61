"""What the command line asks, and what it gets for something else."""

from __future__ import annotations

import pytest

from rollout.diagnosis.question import Name, OfNamespace, OfPod, Pair, Question, question
from rollout.errors import UsageError

CLIENT = Name("web-1", "shop")


@pytest.mark.parametrize(
    ("words", "asked", "shown"),
    [
        (("payments",), OfNamespace("payments"), "namespace payments"),
        (("web-1.shop",), OfPod(CLIENT), "pod web-1.shop"),
        (("web.v1-1.shop",), OfPod(Name("web.v1-1", "shop")), "pod web.v1-1.shop"),
        (
            ("", "web-1.shop", "ledger.payments:80"),
            Pair(client=CLIENT, server=Name("ledger", "payments"), port="80"),
            "web-1.shop to ledger.payments:80",
        ),
        (
            ("", "web-1.shop", "ledger.payments"),
            Pair(client=CLIENT, server=Name("ledger", "payments")),
            "web-1.shop to ledger.payments",
        ),
        (
            ("", "web-1.shop", "ledger.payments.svc.cluster.local:http"),
            Pair(client=CLIENT, server=Name("ledger", "payments"), port="http"),
            "web-1.shop to ledger.payments:http",
        ),
        (
            ("", "web-1.shop", "ledger.svc:80"),
            Pair(client=CLIENT, server=Name("ledger", "svc"), port="80"),
            "web-1.shop to ledger.svc:80",
        ),
    ],
)
def test_a_question(words: tuple[str, ...], asked: Question, shown: str) -> None:
    """A namespace has no dot, a pod's name may have some, a Service's full name is cut."""
    made = question(*words)
    assert (asked, shown) == (made, str(made))


@pytest.mark.parametrize(
    ("words", "request_", "problem"),
    [
        ((), {}, "nothing is named"),
        (("payments", "web-1.shop", "ledger.payments:80"), {}, "a pair needs its two ends"),
        (("", "web-1.shop"), {}, "a pair needs its two ends"),
        (("", "", "ledger.payments:80"), {}, "a pair needs its two ends"),
        (("", "web-1", "ledger.payments:80"), {}, "'web-1' is no POD.NAMESPACE"),
        (("", "web-1.shop", "ledger:80"), {}, "'ledger' is no SERVICE.NAMESPACE:PORT"),
        (("", "web-1.shop", "10.0.0.1:80"), {}, "10.0.0.1 is an address"),
        ((".shop",), {}, "'.shop' is no POD.NAMESPACE"),
        (("payments",), {"method": "GET"}, "a method or a path belongs to a call"),
        (("payments",), {"path": "/"}, "a method or a path belongs to a call"),
    ],
)
def test_no_question(words: tuple[str, ...], request_: dict[str, str], problem: str) -> None:
    """A usage error with the right words."""
    with pytest.raises(UsageError) as caught:
        question(*words, **request_)
    assert problem in caught.value.problem
