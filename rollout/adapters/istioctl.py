"""`istioctl analyze` as `ports.Analyzer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rollout.adapters import process
from rollout.errors import Outcome, RolloutError
from rollout.ports import AnalyzerMessage

#: Seconds; istioctl's own --timeout (30 s) covers only part of its work.
LIMIT = 60.0

Run = Callable[[Sequence[str]], process.Finished]


class _Message(msgspec.Struct, frozen=True, rename="camel"):
    code: str = ""
    level: str = ""
    origin: str = ""
    message: str = ""
    documentation_url: str = ""


def _run(argv: Sequence[str]) -> process.Finished:
    return process.run(argv, limit=LIMIT)


class Istioctl:
    """`ports.Analyzer` by a subprocess.

    Args:
        path: the binary.
        kubeconfig: passed on, '' for its own default.
        context: passed on, '' for its own default.
        run: starts it, for tests.
    """

    def __init__(self, path: str = "istioctl", *, kubeconfig: str = "", context: str = "", run: Run = _run) -> None:
        """Nothing is started yet."""
        self._argv = [path, "analyze", "--color=false", "-o", "json"]
        self._argv += ["--kubeconfig", kubeconfig] if kubeconfig else []
        self._argv += ["--context", context] if context else []
        self._run = run
        self._absent = False

    def analyze(self, namespace: str) -> tuple[AnalyzerMessage, ...]:
        """Its findings. With JSON they never change its exit status (istio.md 8.1), so a status is a failure."""
        argv = [*self._argv, "-n", namespace]
        where = " ".join(argv)
        try:
            if self._absent:  # nobody looks for it 200 times
                raise FileNotFoundError
            done = self._run(argv)
        except OSError as error:
            self._absent = absent = isinstance(error, FileNotFoundError)
            raise RolloutError(
                "no istioctl on PATH" if absent else f"istioctl cannot be started: {error.strerror or error}",
                where=where,
                next="install istioctl of the mesh's version, or leave the check out",
                outcome=Outcome.CANNOT_SEE,
            ) from error
        if done.code is None:
            raise RolloutError(
                f"istioctl did not end within {LIMIT:.0f} s",
                where=where,
                next="run it by hand to see what it waits for",
                outcome=Outcome.CANNOT_SEE,
            )
        found = _messages(done.out)
        if found is None or (done.code != 0 and not found):
            said = done.err[-300:] or done.out[-300:].decode(errors="replace").strip() or "it said nothing"
            raise RolloutError(
                f"istioctl failed with exit status {done.code}: {said}", where=where, outcome=Outcome.CANNOT_SEE
            )
        return tuple(AnalyzerMessage(m.code, m.level, m.origin, m.message, m.documentation_url) for m in found)


def _messages(out: bytes) -> tuple[_Message, ...] | None:
    """None: not its JSON. No output and `null` are no findings."""
    if not out.strip():
        return ()
    try:
        return msgspec.json.decode(out, type=tuple[_Message, ...] | None) or ()
    except msgspec.MsgspecError:
        return None
