"""Did it get worse? One pure function over the baseline, the newest observation and the cluster's objects."""

from rollout.judge.kubernetes import READS
from rollout.judge.signals import SIGNALS, About
from rollout.judge.verdict import judge

__all__ = ["READS", "SIGNALS", "About", "judge"]
