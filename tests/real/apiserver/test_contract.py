"""The recorded contract, on the kind of server that it was recorded from."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.api.replay import Target, read, topics
from tests.real.apiserver.conftest import STANDIN
from tests.real.apiserver.replay import RealReplay
from tests.real.apiserver.server import KubeApiserver

pytestmark = [pytest.mark.kube_apiserver, pytest.mark.timeout(600)]


@pytest.mark.parametrize("topic", topics())
def test_the_recording_holds_on_a_real_server(
    topic: str, definitions: list[dict[str, Any]], fresh: Callable[[], KubeApiserver], record_property: Any
) -> None:
    """Every exchange of the topic gets the recorded answer, on a server that holds nothing else."""
    if not definitions:
        pytest.skip("ISTIO_CRDS names no file: Istio's manifests/charts/base/files/crd-all.gen.yaml")
    server = fresh()

    def overload(on: bool) -> None:
        rule = {"effect": "overloaded", "token": "limited-token"}
        server.remote.ask("POST" if on else "DELETE", "/lab/faults", rule if on else None)

    target = Target(server.port, compact=server.etcd.compact, overload=overload, connect=server.connect)
    replay = RealReplay(target, read(topic), minor=server.minor, apart=STANDIN)
    tally = replay.run()
    record_property("exchanges", [f"kube-apiserver {server.minor}", topic, tally.same, dict(tally.apart)])
    assert [] == replay.problems, "\n".join(replay.problems)
