"""A Kubernetes API server small enough to start inside a test: what `rollout` and kubectl need, as a real one answers.

Not in it: server-side apply (415), webhooks at a URL (501), protobuf answers (406), exec over SPDY, aggregated APIs and
events.k8s.io (404), schemas but those of what the tool writes. `tests/lab/api/contract` holds exchanges recorded from a
real server that are replayed against it; `tests/lab/api/apart.py` names what it answers otherwise, and why.
"""

from rollout.lab.api.faults import Effect, Fault, Faults
from rollout.lab.api.handlers import Api
from rollout.lab.api.kinds import Kinds, Resource
from rollout.lab.api.rbac import ADMIN, ANONYMOUS, User
from rollout.lab.api.status import ApiError
from rollout.lab.api.store import AdmissionRequest, Store, Write, denied, failing

__all__ = [
    "ADMIN",
    "ANONYMOUS",
    "AdmissionRequest",
    "Api",
    "ApiError",
    "Effect",
    "Fault",
    "Faults",
    "Kinds",
    "Resource",
    "Store",
    "User",
    "Write",
    "denied",
    "failing",
]
