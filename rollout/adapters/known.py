"""What a process that writes a journal remembers of a run between two appends."""

from __future__ import annotations

import string
from dataclasses import dataclass, field

from rollout.record.events import Ticks


@dataclass
class Known:
    """A run.

    Attributes:
        run: its id.
        namespace: where its ConfigMap lies.
        version: resourceVersion that the next write is fenced with.
        written: key -> line, in the cluster.
        unsent: key -> line, in the mirror only.
        kept: lines whose append failed: whoever gives such an event again gets it recorded once.
        pending: ticks that are held back, merged.
        last: the tick before the next one.
        mark: size of the mirror before the last line, to which it is cut when that one is dropped.
        followed: this process writes the run, and the mirror has been made to agree with the cluster.
    """

    run: str
    namespace: str
    version: str = ""
    written: dict[str, str] = field(default_factory=dict)
    unsent: dict[str, str] = field(default_factory=dict)
    pending: Ticks | None = None
    last: Ticks | None = None
    kept: set[str] = field(default_factory=set)
    mark: int = -1
    followed: bool = False

    def free(self, seq: int) -> str:
        """The key of an event."""
        taken = self.written.keys() | self.unsent.keys()
        key = f"e{seq:08d}"
        return next(name for name in (key, *(key + letter for letter in string.ascii_lowercase)) if name not in taken)
