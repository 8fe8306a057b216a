"""Several steps in a row: what holds after all of them, in terms of the state before the first."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from colofd.model.proof_trees import after, substituted
from colofd.spec.language import Expr, Parameter, Rule

T = TypeVar("T")


def taken(rule: Rule, arguments: Mapping[str, Expr[Any]]) -> Rule:
    """Return the rule with its arguments, by the names of its parameters; KeyError if one is missing."""
    bindings: dict[Parameter[Any], Expr[Any]] = {parameter: arguments[parameter.name] for parameter in rule.parameters}
    updates = tuple(
        dataclasses.replace(update, key=tuple(substituted(key, bindings) for key in update.key), value=substituted(update.value, bindings))
        for update in rule.updates
    )
    return dataclasses.replace(rule, parameters=(), guards=tuple(substituted(guard, bindings) for guard in rule.guards), updates=updates)


def after_all(steps: Sequence[Rule], expression: Expr[T]) -> Expr[T]:
    """Return the expression of the state before the first step that has the value which `expression` has after the last one."""
    for step in reversed(steps):
        expression = after(step, expression)
    return expression


def are_possible(steps: Sequence[Rule]) -> Iterator[Expr[bool]]:
    """Yield, in terms of the state before the first step, each guard of each step."""
    for number, step in enumerate(steps):
        for guard in step.guards:
            yield after_all(steps[:number], guard)
