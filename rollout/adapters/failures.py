"""HTTP failures of the Kubernetes API, turned once into sentences.

The client's exceptions differ between its versions and families (facts: libraries.md 1.3), so only the status, the
Status object's reason and its message are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from rollout.errors import (
    ClusterError,
    Conflict,
    Exists,
    Forbidden,
    Gone,
    NotFound,
    Overloaded,
    Rejected,
    Unauthorized,
    Unreachable,
)


class Ask(msgspec.Struct, frozen=True):
    """What was asked: of which server, in which context."""

    method: str
    path: str
    server: str
    context: str

    @property
    def where(self) -> str:
        """`GET https://10.0.0.1:6443/api/v1/pods`."""
        return f"{self.method} {self.server}{self.path}"


class Status(msgspec.Struct, frozen=True):
    """meta/v1 Status, as far as it is used."""

    kind: str = ""
    reason: str = ""
    message: str = ""


#: 403 that is no missing right: admission, quota, a namespace on its way out (contract: webhooks, names.json).
_ADMISSION = re.compile(
    r'^admission webhook "|denied (the )?request|exceeded quota|is being terminated|violates PodSecurity', re.IGNORECASE
)


def failure(ask: Ask, status: int, headers: Mapping[str, str], body: bytes | str | None) -> ClusterError:
    """The error of an answer that is not 2xx; its `status` is the answer's."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    said = parse(text)
    error = _error(ask, status, headers, said)
    error.status = status
    return error


def parse(text: str) -> Status:
    """The Status object; any other text (429 is text/plain) becomes its message, shortened, a page its title."""
    try:
        status = msgspec.json.decode(text, type=Status)
        if status.kind == "Status" or status.message:
            return status
    except msgspec.MsgspecError:
        pass
    title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return Status(message=" ".join((title.group(1) if title else text).split())[:300])


def _error(ask: Ask, status: int, headers: Mapping[str, str], said: Status) -> ClusterError:
    message, where = said.message.rstrip(". "), ask.where
    if status == 401:
        return Unauthorized(
            f"the API server does not accept the credentials of context {ask.context!r} (401)",
            where=where,
            next="sign in again, or choose another --context",
        )
    if status == 403 and not _ADMISSION.search(message):
        return _forbidden(ask, message)
    if status == 404:
        return NotFound(message or "not found (404)", where=where)
    if status == 409 and said.reason == "AlreadyExists":
        return Exists(message or "it exists already (409)", where=where)
    if status == 409:
        return Conflict(message or "somebody wrote first (409)", where=where)
    if status == 410:
        return Gone(message or "the list expired while it was read (410)", where=where)
    wait = retry_after(headers)
    if status == 429 or (status == 503 and wait is not None):
        return _overloaded(status, message, where, wait)
    if status >= 500 or status == 408:
        return Unreachable(
            f"the API server failed: {message or 'no reason given'} ({status})",
            where=where,
            next="failing webhooks and aggregated APIs do this too; try again when the server has recovered",
        )
    if status < 400:
        return ClusterError(
            f"the server answers with {status}, which no Kubernetes API does here",
            where=where,
            next="is there a proxy or a login page in front of it?",
        )
    return Rejected(f"the API server rejects the request: {message or 'no reason given'} ({status})", where=where)


def _forbidden(ask: Ask, message: str) -> ClusterError:
    if '"system:anonymous"' in message:
        return Unauthorized(
            f"the API server saw no credentials: {message}",
            where=ask.where,
            next=f"does context {ask.context!r} of the kubeconfig name a user with credentials?",
        )
    return Forbidden(
        message or "the API server refuses (403 Forbidden)",
        where=ask.where,
        next="have the right granted; `kubectl auth can-i --list` shows what is allowed",
    )


def _overloaded(status: int, message: str, where: str, wait: float | None) -> Overloaded:
    error = Overloaded(
        f"the API server is overloaded: {message or 'too many requests'} ({status})",
        where=where,
        next="try again later",
    )
    error.retry_after = 1.0 if wait is None else wait
    return error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, None when absent; a date, which kube-apiserver never sends, counts as one second."""
    value = next((v for k, v in headers.items() if k.lower() == "retry-after"), None)
    if value is None:
        return None
    return float(value) if value.strip().isdigit() else 1.0


def silence(ask: Ask, error: BaseException, *, timeout: bool = False) -> Unreachable:
    """The error of a request without an answer."""
    reason = innermost(error)
    if re.search(r"CERTIFICATE_VERIFY_FAILED|\[X509|certificate verify failed", reason):
        return Unreachable(
            f"the API server's certificate is not trusted: {reason}",
            where=ask.where,
            next=f"check certificate-authority of context {ask.context!r} in the kubeconfig",
        )
    problem = "the API server does not answer in time" if timeout else f"the API server cannot be reached: {reason}"
    return Unreachable(problem, where=ask.where, next=f"check the network, VPN and context {ask.context!r}")


def innermost(error: BaseException) -> str:
    """`[Errno 111] Connection refused` rather than the libraries' whole story, which repeats URLs and tracebacks."""
    inner: BaseException = error
    while isinstance(cause := getattr(inner, "reason", None) or inner.__cause__, BaseException):
        inner = cause
    text = cause if isinstance(cause, str) and cause else str(inner)
    found = re.search(r"\[(?:Errno|SSL|X509)[^\n'\")(]*", text)
    line = found.group(0) if found else next((line for line in text.splitlines() if line.strip()), "")
    return line.strip()[:300] or type(inner).__name__
