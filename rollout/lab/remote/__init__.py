"""The simulated mesh on a kube-apiserver that is not the lab's own.

The server keeps the objects, and does everything that a server does: validation, rights, managed fields, conflicts,
dry runs. The simulator writes what controllers, kubelets and people would write, and looks at the server whenever time
is about to pass. No webhook of a scenario is ever called there (nothing listens at its address): its configuration is
stored with a condition that is never true.
"""

from rollout.lab.remote.connection import NO_ANSWER, Remote
from rollout.lab.remote.store import RemoteStore

__all__ = ["NO_ANSWER", "Remote", "RemoteStore"]
