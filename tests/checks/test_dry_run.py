"""What a dry run's changes do to the checks: the evidence was made without them."""

from __future__ import annotations

import msgspec

from rollout.checks.run import ask
from rollout.checks.view import View
from rollout.model.istio import Mode
from rollout.model.kubernetes import Ref
from rollout.model.traffic import Evidence
from rollout.record.change import Change, Policy
from tests.checks.test_cases import FOLDER, check_of, load, world_of


def test_plaintext_of_a_disabled_namespace_is_blamed_on_disable_after_the_raise_too() -> None:
    """A plan raises DISABLE in thought only; what it shows of the traffic is from before."""
    path = FOLDER / "plaintext-callers" / "fail_the_namespace_is_disabled.yaml"
    case = load(path)
    there = world_of(case)
    ref = Ref("PeerAuthentication", "production", "default")
    raised = there.after(Change(ref=ref, before=Policy(Mode.DISABLE), after=Policy(Mode.PERMISSIVE)))
    flipped = raised.after(Change(ref=ref, before=Policy(Mode.PERMISSIVE), after=Policy(Mode.STRICT)))
    evidence = msgspec.convert(case["evidence"], Evidence)
    view = View(now=raised, then=flipped, target="production", evidence=evidence)
    assert Mode.PERMISSIVE is view.now.policies().of_namespace("production").mode
    assert Mode.DISABLE is view.as_read.policies().of_namespace("production").mode
    (finding,) = ask(check_of(path), view).findings
    assert finding.fix.startswith("rollout migrate production")
    assert finding.blocks
