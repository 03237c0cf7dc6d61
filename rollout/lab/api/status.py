"""How the API refuses: each refusal as the `Status` object that a real server answers.

The wording is kube-apiserver's (recorded: tests/lab/api/contract), since people and tools read it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]


class Cause(NamedTuple):
    """One thing that is wrong with an object: reason (FieldValueInvalid, …), message, field path."""

    reason: str
    message: str
    field: str


class ApiError(Exception):
    """A refused request.

    Args:
        code: HTTP status.
        reason: the machine-readable word; '' for a Status without one.
        message: the sentence.
        details: `details` of the Status; None leaves it out.
        headers: further response headers.
        text: answer this text/plain instead of a Status.
        meta: `metadata` of the Status (an expired list carries a fresh token there).
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Json | None = None,
        *,
        headers: dict[str, str] | None = None,
        text: str | None = None,
        meta: Json | None = None,
    ) -> None:
        """Keep the parts."""
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.text = text
        self.meta = meta or {}

    def body(self) -> Json:
        """The Status object."""
        status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": self.meta, "status": "Failure"}
        status["message"] = self.message
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def details(name: str, group: str, kind: str) -> Json:
    """`details` of a Status without its empty parts."""
    parts = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in parts.items() if value}


def qualified(word: str, group: str) -> str:
    """`pods`, or `peerauthentications.security.istio.io`."""
    return f"{word}.{group}" if group else word


def not_found(plural: str, group: str, name: str) -> ApiError:
    """404 for an object."""
    return ApiError(404, "NotFound", f'{qualified(plural, group)} "{name}" not found', details(name, group, plural))


def no_such_path() -> ApiError:
    """404 for a path below a group that the server itself serves."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def page_not_found() -> ApiError:
    """404 for a path that nobody serves: plain text."""
    return ApiError(404, "NotFound", "", text="404 page not found\n", headers={"X-Content-Type-Options": "nosniff"})


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def not_supported(plural: str, group: str) -> ApiError:
    """405 for a verb that custom resources do not know."""
    text = f' is not supported on resources of kind "{qualified(plural, group)}"'
    return ApiError(405, "MethodNotAllowed", text, details("", group, plural))


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def already_exists(plural: str, group: str, name: str, *, terminating: bool = False) -> ApiError:
    """409 on create."""
    text = f'{qualified(plural, group)} "{name}" already exists'
    if terminating:
        text = "object is being deleted: " + text
    return ApiError(409, "AlreadyExists", text, details(name, group, plural))


def conflict(word: str, group: str, name: str, why: str = "") -> ApiError:
    """409: somebody wrote first, or a precondition does not hold."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {qualified(word, group)} "{name}": {why}'
    return ApiError(409, "Conflict", text, details(name, group, word))


def invalid(word: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with its causes; the message names each different cause once."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    text = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    found = details(name, group, word)
    found["causes"] = [cause._asdict() for cause in causes]
    return ApiError(422, "Invalid", f'{qualified(word, group)} "{name}" is invalid: {text}', found)


def rejected_patch() -> ApiError:
    """422 for a JSON patch that cannot be applied (a failed `test` too)."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def unauthorized() -> ApiError:
    """401."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def go(value: Any) -> str:
    """A value as it stands in the server's messages: JSON, compact."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def bad_value(field: str, value: Any, why: str) -> Cause:
    """`Invalid value: "x": why`."""
    return Cause("FieldValueInvalid", f"Invalid value: {go(value)}: {why}", field)


def required(field: str, why: str = "") -> Cause:
    """`Required value: why`."""
    return Cause("FieldValueRequired", f"Required value: {why}" if why else "Required value", field)


def forbidden_value(field: str, why: str) -> Cause:
    """`Forbidden: why`."""
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def unsupported(field: str, value: Any, allowed: Sequence[str]) -> Cause:
    """`Unsupported value: "x": supported values: "a", "b"`."""
    words = ", ".join(go(word) for word in allowed)
    return Cause("FieldValueNotSupported", f"Unsupported value: {go(value)}: supported values: {words}", field)


def too_long(field: str, limit: int) -> Cause:
    """`Too long: may not be more than N bytes`."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", field)
