"""A spec as plain nested lists: what its SHA-256 is taken of. Prose and names of variables do not matter."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from colofd.spec.language.cells import Cell, Update
from colofd.spec.language.expressions import (
    And,
    Constant,
    Equal,
    Every,
    Expr,
    Literal,
    Not,
    Or,
    Parameter,
    Read,
    Some,
    Sort,
    Where,
    sort_name,
)
from colofd.spec.language.rules import Rule, Spec

Json = list[Any] | dict[str, Any] | str | int | bool
Numbers = Mapping[Parameter[Any], int]


def sha256(content: Json) -> str:
    """Return the SHA-256 (hex) of JSON content, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def canonical(spec: Spec) -> Json:
    """Return what `spec` means: cells, initial states, rules and clauses, variables numbered by their binding."""
    return {
        "cells": [_cell(cell) for cell in spec.state.cells()],
        "initial": _expression(spec.initial.formula, {}),
        "rules": {rule.id: _rule(rule) for rule in spec.rules},
        "clauses": {clause.id: _expression(clause.formula, {}) for clause in spec.clauses},
    }


_PROSE: Final = frozenset({"doc", "source", "because", "location"})


def canonical_claim(claim: object) -> Json:
    """Return what a claim means: a dataclass of expressions, rules (by their ids) and other claims. A free variable is its name."""
    match claim:
        case Rule():
            return claim.id
        case Expr():
            return _expression(claim, {})
        case Mapping():
            return [[canonical_claim(key), canonical_claim(value)] for key, value in claim.items()]
        case tuple():
            return [canonical_claim(part) for part in claim]
        case str():
            return claim
    if not dataclasses.is_dataclass(claim):
        raise AssertionError(claim)
    fields = {each.name: getattr(claim, each.name) for each in dataclasses.fields(claim)}
    return {name: canonical_claim(value) for name, value in fields.items() if name not in _PROSE}


def _sort(sort: Sort) -> Json:
    return [sort.__name__, *(member.name for member in sort)] if issubclass(sort, Enum) else sort_name(sort)


def _cell(cell: Cell) -> Json:
    return [cell.name, [_sort(sort) for sort in cell.key], _sort(cell.to)]


def _rule(rule: Rule) -> Json:
    numbers = {parameter: number for number, parameter in enumerate(rule.parameters)}
    return {
        "by": str(rule.actor),
        "parameters": [_sort(parameter.sort) for parameter in rule.parameters],
        "guards": [_expression(guard, numbers) for guard in rule.guards],
        "updates": [_update(update, numbers) for update in rule.updates],
    }


def _update(update: Update, numbers: Numbers) -> Json:
    inner = {**numbers, **{bound: len(numbers) + number for number, bound in enumerate(update.bound)}}
    return [update.cell.name, [_expression(key, inner) for key in update.key], len(update.bound), _expression(update.value, inner)]


def _expression(expression: Expr[Any], numbers: Numbers) -> Json:
    match expression:
        case Literal(value=value):
            return ["literal", value.name if isinstance(value, Enum) else value]
        case Constant(name=name, sort=sort):
            return ["constant", sort_name(sort), name]
        case Parameter():
            return ["variable", numbers.get(expression, expression.name)]
        case Read(cell=cell, key=key):
            return ["read", cell.name, *(_expression(part, numbers) for part in key)]
        case Equal(left=left, right=right) | And(left=left, right=right) | Or(left=left, right=right):
            return [type(expression).__name__.lower(), _expression(left, numbers), _expression(right, numbers)]
        case Not(operand=operand):
            return ["not", _expression(operand, numbers)]
        case Where(condition=condition, then=then, otherwise=otherwise):
            return ["where", *(_expression(part, numbers) for part in (condition, then, otherwise))]
        case Every(variable=variable, body=body) | Some(variable=variable, body=body):
            kind = type(expression).__name__.lower()
            return [kind, _sort(variable.sort), _expression(body, {**numbers, variable: len(numbers)})]
    raise AssertionError(expression)
