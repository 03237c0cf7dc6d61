"""The modes of a big namespace, in processor time, because machines are shared."""

from __future__ import annotations

import time

from rollout.mesh.peer_authentication import effective_modes
from tests.diagnosis.makers import peers, pod


def test_five_thousand_pods_are_fast() -> None:
    """The index is built once."""
    pods = [pod(f"orders-{number}", "production") for number in range(5000)]
    policies = [peers("STRICT", "production", f"own-{n}", selector={"app": f"w{n}"}) for n in range(300)]
    started = time.process_time()
    modes = effective_modes(pods, policies, "istio-system")
    assert len(modes) == 10_000
    assert time.process_time() - started < 3
