"""How a query fails, in Prometheus' own three ways; the HTTP face turns them into status and errorType."""

from __future__ import annotations


class QueryError(Exception):
    """A query that gives no answer.

    Attributes:
        status: the HTTP status that Prometheus 2.42 answers with.
        error_type: its `errorType`.
    """

    status = 422
    error_type = "execution"


class BadData(QueryError):
    """The query or a parameter cannot be understood."""

    status = 400
    error_type = "bad_data"


class ExecutionError(QueryError):
    """Understood, but impossible on this data: many-to-many matching, the same labels twice, …"""
