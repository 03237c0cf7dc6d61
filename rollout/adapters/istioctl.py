"""istioctl as `ports.Analyzer`: `analyze`, and `proxy-status` in the forms of all its versions (istio.md 8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from rollout.adapters import process
from rollout.adapters.proxy_status import differences, documents, table
from rollout.errors import NoProgram, Outcome, RolloutError
from rollout.model.kubernetes import Ref
from rollout.model.synchronization import Difference, ProxySync
from rollout.ports import AnalyzerMessage

#: Seconds; istioctl's own --timeout (30 s) covers only part of its work.
LIMIT = 60.0
#: Seconds for `proxy-status`: it has no limit of its own, and waits for istiods that do not answer.
STATUS_LIMIT = 30.0
#: Where it looks for istiods by itself.
_USUAL = "istio-system"
_NEXT = "run it by hand to see what it says"
#: What it says when it looked and found nothing; a clean run writes `[]` as well (istio.md 8.1).
_CLEAN = re.compile(r"No validation issues found")
#: Istiods were asked, and nobody was connected; with 0 of them nothing is known.
_NOBODY = re.compile(r"no proxies found \(checked [1-9]\d* istiods?\)")
_NO_SUCH_FLAG = re.compile(r"unknown (shorthand )?flag|flag provided but not defined")

Run = Callable[[Sequence[str], float], process.Finished]


class _Message(msgspec.Struct, frozen=True, rename="camel"):
    code: str = ""
    level: str = ""
    origin: str = ""
    message: str = ""
    documentation_url: str = ""
    old_url: str = msgspec.field(default="", name="documentation_url")


def _run(argv: Sequence[str], limit: float) -> process.Finished:
    return process.run(argv, limit=limit)


class Istioctl:
    """`ports.Analyzer` by a subprocess.

    Args:
        path: the binary.
        kubeconfig: passed on, '' for its own default.
        context: passed on, '' for its own default.
        istiods: the namespaces in which istiods run, () where that is not known: it knows of one at a time.
        run: starts it, for tests.
        without: why there is none to ask, '' where there may be one.
    """

    def __init__(
        self,
        path: str = "istioctl",
        *,
        kubeconfig: str = "",
        context: str = "",
        istiods: Sequence[str] = (),
        run: Run = _run,
        without: str = "",
    ) -> None:
        """Nothing is started yet."""
        self._path = path
        self._cluster = ["--kubeconfig", kubeconfig] if kubeconfig else []
        self._cluster += ["--context", context] if context else []
        self._planes = [[] if name == _USUAL else ["--istioNamespace", name] for name in istiods or (_USUAL,)]
        self._run = run
        self._without = without

    def analyze(self, namespaces: Collection[str]) -> Mapping[str, tuple[AnalyzerMessage, ...]]:
        """Its findings. With JSON they never change its exit status (istio.md 8.1), so a status is a failure.

        Several namespaces are asked about in one run: whatever is asked, it reads the whole cluster.
        """
        asked = tuple(dict.fromkeys(namespaces))
        which = ["-n", asked[0]] if len(asked) == 1 else ["-A"]
        argv = ["analyze", "--color=false", "-o", "json", *self._cluster, *self._planes[0], *which]
        done = self._done(argv, LIMIT)
        found = _messages(done)
        if found is None or (done.code != 0 and not found):
            raise self._failed(argv, done)
        messages = [
            AnalyzerMessage(m.code, m.level, m.origin, m.message, m.documentation_url or m.old_url) for m in found
        ]
        return {name: tuple(m for m in messages if _concerns(m, name)) for name in asked}

    def proxy_status(self) -> tuple[ProxySync, ...]:
        """Of all istiods: a proxy that one of them does not know may be another's."""
        return tuple(proxy for plane in self._planes for proxy in self._connected(plane))

    def _connected(self, plane: Sequence[str]) -> tuple[ProxySync, ...]:
        """As JSON where it can (1.27 and later), else from its table."""
        argv = ["proxy-status", "-o", "json", *self._cluster, *plane]
        done = self._done(argv, STATUS_LIMIT)
        found = documents(done.out) if done.code == 0 else None
        if found is None and (done.code == 0 or _NO_SUCH_FLAG.search(done.err)):
            argv = ["proxy-status", *self._cluster, *plane]
            done = self._done(argv, STATUS_LIMIT)
            found = table(done.out) if done.code == 0 else None
        if done.code and _NOBODY.search(done.err):
            return ()
        if found is None:
            what = "" if done.code else f"its list of proxies has no form that is known here: {_first(done.out)}"
            raise self._failed(argv, done, what)
        return found

    def differences(self, pod: Ref) -> tuple[Difference, ...]:
        """Of clusters, listeners and routes, by the first istiod that knows the pod; it has no form but text."""
        failed: RolloutError | None = None
        for plane in self._planes:
            argv = ["proxy-status", f"{pod.name}.{pod.namespace}", *self._cluster, *plane]
            done = self._done(argv, STATUS_LIMIT)
            found = differences(done.out) if done.code == 0 else ()
            if found:
                return found
            what = "" if done.code else f"its comparison has no form that is known here: {_first(done.out)}"
            failed = failed or self._failed(argv, done, what)
        assert failed is not None, "there is always a namespace to look for istiods in"
        raise failed

    def _done(self, argv: Sequence[str], limit: float) -> process.Finished:
        where = " ".join((self._path, *argv))
        hint = "install istioctl of the mesh's version, or leave the check out"
        if self._without:
            raise NoProgram(self._without, where=where, next=hint)
        try:
            done = self._run([self._path, *argv], limit)
        except FileNotFoundError as error:
            self._without = "no istioctl on PATH" if "/" not in self._path else f"there is no {self._path}"
            raise NoProgram(self._without, where=where, next=hint) from error
        except OSError as error:
            said = f"istioctl cannot be started: {error.strerror or error}"
            raise RolloutError(said, where=where, next=hint, outcome=Outcome.CANNOT_SEE) from error
        if done.code is None:
            said = f"istioctl {argv[0]} did not end within {limit:.0f} s"
            wait = "run it by hand to see what it waits for"
            raise RolloutError(said, where=where, next=wait, outcome=Outcome.CANNOT_SEE)
        return done

    def _failed(self, argv: Sequence[str], done: process.Finished, what: str = "") -> RolloutError:
        said = done.err[-300:].strip() or done.out[-300:].decode(errors="replace").strip() or "it said nothing"
        how = f"failed with exit status {done.code}" if done.code else f"{argv[0]} ended well, and told no findings"
        problem = what or f"{how}: {said}"
        return RolloutError(
            f"istioctl {argv[0]}: {problem}" if what else f"istioctl {problem}",
            where=" ".join((self._path, *argv)),
            next=_NEXT,
            outcome=Outcome.CANNOT_SEE,
        )


def _first(out: bytes) -> str:
    """Enough of its first line to know it again."""
    return out.decode(errors="replace").strip().partition("\n")[0][:100] or "it is empty"


def _concerns(message: AnalyzerMessage, namespace: str) -> bool:
    """As its own -n has it: of the namespace, of the cluster, or of nothing that is named."""
    ref = message.ref
    if ref is None:
        return True
    return (ref.name if ref.kind == "Namespace" else ref.namespace) in ("", namespace)


def _messages(done: process.Finished) -> tuple[_Message, ...] | None:
    """None: not its JSON. `null` is no finding; no output is none only where it says so.

    A cluster that it cannot reach, and a namespace that it does not know, end with status 0 and no output as well.
    """
    if not done.out.strip():
        return () if _CLEAN.search(done.err) else None
    try:
        return msgspec.json.decode(done.out, type=tuple[_Message, ...] | None) or ()
    except msgspec.MsgspecError:
        return None
