"""Remote write as the lab does it; `test_forwarder.py` reads back from a real server what was written."""

from rollout.lab.remote_write import HEADERS, Samples, bodies

__all__ = ["HEADERS", "Samples", "bodies"]
