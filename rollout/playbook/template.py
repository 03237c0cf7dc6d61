"""`{{ }}` and `when:`: Jinja2 expressions in its immutable sandbox, all of them resolved at load.

Expressions only: a statement, an undefined name or a condition that gives no boolean is a mistake with its line, so
that nothing is left to find out in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from rollout.playbook.words import hint, quoted

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment


class Unresolved(Exception):
    """An expression that cannot be resolved; `hint` may be ''."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep the two apart."""
        super().__init__(message)
        self.message = message
        self.hint = hint


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, cache_size=0)
    # A playbook means the same at each load, and `namespace` or `range` must not stand in for a forgotten variable.
    environment.globals.clear()
    environment.filters.pop("random")
    return environment


def templated(text: str) -> bool:
    """It holds something for Jinja2."""
    return "{{" in text or "{%" in text or "{#" in text


def resolve(text: str, variables: Mapping[str, Any]) -> Any:
    """The text with its expressions filled in; a text that is one expression keeps the expression's type.

    Raises:
        Unresolved: a statement, a syntax error, an undefined name, or a result that is no plain value.
    """
    if not templated(text):
        return text
    if "{%" in text:
        raise Unresolved("statements ({% %}) are not supported", "expressions in {{ }} are")
    if "{#" in text:
        raise Unresolved("comments ({# #}) are not supported", "YAML's own begin with #")
    return _guarded(text, variables, _fill)


def condition(text: str, variables: Mapping[str, Any]) -> bool:
    """A `when:` expression.

    Raises:
        Unresolved: as `resolve`, and where it gives something else than true or false.
    """
    if templated(text):
        raise Unresolved("`when:` is an expression already", "write it without {{ }}")
    result = _guarded(text, variables, _evaluate)
    if not isinstance(result, bool):
        raise Unresolved(
            f"`when:` gives {quoted(result)}, not true or false", "compare it: `name == 'value'`, `name | length > 0`"
        )
    return result


def _guarded(text: str, variables: Mapping[str, Any], work: Any) -> Any:
    from jinja2 import TemplateSyntaxError, UndefinedError
    from jinja2.exceptions import SecurityError, TemplateError

    try:
        return _builtin(work(text, variables), text)
    except Unresolved:
        raise
    except TemplateSyntaxError as error:
        raise Unresolved(f"not an expression: {error.message or quoted(text)}") from error
    except UndefinedError as error:
        name = str(error.message or "").partition("'")[2].partition("'")[0]
        known = hint(name, sorted(variables)) if "is undefined" in str(error.message) else ""
        raise Unresolved(str(error.message or f"undefined name in {quoted(text)}"), known) from error
    except SecurityError as error:
        raise Unresolved(f"the sandbox refuses {quoted(text)}: {error}") from error
    except (
        TemplateError,
        ArithmeticError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as error:
        raise Unresolved(f"{quoted(text)} cannot be computed: {error}") from error
    except (SyntaxError, MemoryError) as error:  # generated code that Python's own parser gives up on
        raise Unresolved(f"{quoted(text)} is too complicated") from error


def _fill(text: str, variables: Mapping[str, Any]) -> Any:
    from jinja2 import nodes

    environment = _environment()
    body = environment.parse(text).body
    parts = [part for node in body if isinstance(node, nodes.Output) for part in node.nodes]
    blank = [p for p in parts if isinstance(p, nodes.TemplateData) and not p.data.strip()]
    if len(parts) - len(blank) == 1 and not any(isinstance(p, nodes.TemplateData) for p in parts if p not in blank):
        inner = text.strip().removeprefix("{{").removesuffix("}}").strip("-+")
        return _evaluate(inner, variables)
    return environment.from_string(text).render(dict(variables))


def _evaluate(text: str, variables: Mapping[str, Any]) -> Any:
    from jinja2 import Undefined

    result = _environment().compile_expression(text, undefined_to_none=False)(dict(variables))
    if isinstance(result, Undefined):
        str(result)  # StrictUndefined says which name it is
    return result


def _builtin(value: Any, text: str) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_builtin(item, text) for item in value]
    if isinstance(value, dict):
        return {str(key): _builtin(item, text) for key, item in value.items()}
    raise Unresolved(f"{quoted(text)} gives a {type(value).__name__}, not a plain value")
