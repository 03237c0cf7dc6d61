"""Who wrote the modes last."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.model.istio import PeerAuthentication
from rollout.stages.context import managers

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def _policy(*fields: tuple[str, int, str]) -> PeerAuthentication:
    entries: list[dict[str, Any]] = [
        {"manager": who, "time": (AT + timedelta(seconds=ago)).isoformat(), "fieldsV1": {"f:spec": {field: {}}}}
        for who, ago, field in fields
    ]
    return msgspec.convert(
        {"metadata": {"name": "default", "namespace": "production", "managedFields": entries}}, PeerAuthentication
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("kubectl", 0, "f:mtls"), ("rollout", 5, "f:mtls")], ("rollout", "kubectl")),
        ([("rollout", 0, "f:mtls"), ("kubectl", 5, "f:portLevelMtls")], ("kubectl", "rollout")),
        ([("rollout", 5, "f:mtls"), ("kubectl", 5, "f:mtls")], ("kubectl", "rollout")),
        ([("kubectl", 5, "f:mtls"), ("rollout", 5, "f:mtls")], ("kubectl", "rollout")),
        ([("kubectl", 5, "f:selector"), ("rollout", 0, "f:mtls")], ("rollout",)),
    ],
)
def test_the_latest_comes_first_and_in_one_second_somebody_else(
    fields: list[tuple[str, int, str]], expected: tuple[str, ...]
) -> None:
    """The server stamps whole seconds, so an override right after the flip has the same."""
    assert expected == managers(_policy(*fields))
