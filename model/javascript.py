"""The specification as JavaScript: a reading of the traced rules, for a browser that steps through them without this program.

A state is an object with a property for each cell: a truth, or the number of a member; arrays, in arrays, where a cell has keys. A rule
never changes a state: it returns another one. `members` has for each sort the numbers of its members, so a text fits any sizes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from colofd.model.spec_mutants import conjuncts
from colofd.spec.language import (
    And,
    Clause,
    Constant,
    Equal,
    Every,
    Expr,
    Literal,
    Not,
    Or,
    Parameter,
    Read,
    Rule,
    Some,
    Spec,
    Update,
    Where,
    sort_name,
)
from colofd.spec.language.cells import Cell
from colofd.spec.language.prose import prose, update_prose

_STATE: Final = "state"
_MEMBERS: Final = "members"
_TAKEN: Final = frozenset({_STATE, _MEMBERS, "put"})

PUT: Final = """\
/** Return an array with another value at a key; arrays in arrays for keys of more than one part. */
const put = (array, [first, ...rest], value) =>
  array.map((old, member) => (member !== first ? old : rest.length ? put(old, rest, value) : value));"""
"""What the texts of the rules need."""

Names = Mapping[Parameter[Any], str]


def javascript(spec: Spec) -> str:
    """Return an expression of JavaScript: an object with sorts, cells, initial states, rules and clauses."""
    enumerations = {sort for cell in spec.state.cells() for sort in (*cell.key, cell.to) if issubclass(sort, Enum)}
    sorts = {sort_name(sort): [member.name for member in sort] for sort in sorted(enumerations, key=sort_name)}
    parts = {
        "sorts": _data(sorts),
        "cells": _data([_cell(cell) for cell in spec.state.cells()]),
        "initial": clause_text(spec.initial),
        "rules": _listed(map(rule_text, spec.rules)),
        "clauses": _listed(map(clause_text, spec.clauses)),
    }
    return _object(parts)


def rule_text(rule: Rule) -> str:
    """Return a rule as an object: its guards, each with its conjuncts, and a function that returns the state after the step."""
    names = _named({}, rule.parameters)
    head = ", ".join((_STATE, _MEMBERS, *names.values()))
    updates = "".join(f", {update.cell.name}: {_update(update, names)}" for update in rule.updates)
    parts = {
        "id": _data(rule.id),
        "by": _data(str(rule.actor)),
        "doc": _data(_words(rule.doc)),
        "parameters": _data([[each.name, sort_name(each.sort)] for each in rule.parameters]),
        "does": _data([update_prose(update) for update in rule.updates]),
        "guards": f"[{', '.join(_guard(text, part, head, names) for text, part in _conjuncts(rule))}]",
        "after": f"({head}) => ({{...{_STATE}{updates}}})",
    }
    return _object(parts)


def clause_text(clause: Clause) -> str:
    """Return a clause as an object with a function that says whether it holds."""
    holds = f"({_STATE}, {_MEMBERS}) => {_text(clause.formula, {})}"
    return _object({"id": _data(clause.id), "doc": _data(_words(clause.doc)), "text": _data(prose(clause.formula)), "holds": holds})


def _conjuncts(rule: Rule) -> list[tuple[str, Expr[bool]]]:
    """Return all that the guards demand, each with the id of its guard: the rule's, and the guard's place in its text, from 1."""
    return [(f"{rule.id}/{place}", part) for place, guard in enumerate(rule.guards, 1) for part, _ in conjuncts(guard)]


def _guard(identifier: str, part: Expr[bool], head: str, names: Names) -> str:
    return _object({"id": _data(identifier), "text": _data(prose(part)), "holds": f"({head}) => {_text(part, names)}"})


def _cell(cell: Cell) -> dict[str, Any]:
    sorts = {"key": [sort_name(sort) for sort in cell.key], "to": sort_name(cell.to)}
    return {"name": cell.name, **sorts, "doc": cell.doc, "isGhost": cell.is_ghost}


def _update(update: Update, names: Names) -> str:
    """Return what a cell holds after the step. All texts read the state before it."""
    if not update.key:
        return _text(update.value, names)
    if update.bound:
        (variable,) = update.bound
        inner = _named(names, update.bound)
        return f"{_MEMBERS}.{sort_name(variable.sort)}.map(({inner[variable]}) => {_text(update.value, inner)})"
    key = ", ".join(_text(part, names) for part in update.key)
    return f"put({_STATE}.{update.cell.name}, [{key}], {_text(update.value, names)})"


def _text(expression: Expr[Any], names: Names) -> str:  # noqa: C901  # one case for each kind of node
    def inner(part: Expr[Any]) -> str:
        return _text(part, names)

    match expression:
        case Literal(value=value):
            return str(list(type(value)).index(value)) if isinstance(value, Enum) else _data(value)
        case Constant():
            return "0"
        case Parameter():
            return names[expression]
        case Read(cell=cell, key=key):
            return "".join([f"{_STATE}.{cell.name}", *(f"[{inner(part)}]" for part in key)])
        case Equal(left=left, right=right):
            return f"({inner(left)} === {inner(right)})"
        case And(left=left, right=right):
            return f"({inner(left)} && {inner(right)})"
        case Or(left=left, right=right):
            return f"({inner(left)} || {inner(right)})"
        case Not(operand=operand):
            return f"!{inner(operand)}"
        case Where(condition=condition, then=then, otherwise=otherwise):
            return f"({inner(condition)} ? {inner(then)} : {inner(otherwise)})"
        case Every(variable=variable, body=body):
            return _quantified("every", variable, body, names)
        case Some(variable=variable, body=body):
            return _quantified("some", variable, body, names)
    raise AssertionError(expression)


def _quantified(method: str, variable: Parameter[Any], body: Expr[bool], names: Names) -> str:
    inner = _named(names, (variable,))
    return f"{_MEMBERS}.{sort_name(variable.sort)}.{method}(({inner[variable]}) => {_text(body, inner)})"


def _named(names: Names, variables: Sequence[Parameter[Any]]) -> Names:
    """Return names that no other variable in scope has."""
    found = dict(names)
    for variable in variables:
        taken = {*_TAKEN, *found.values()}
        found[variable] = variable.name if variable.name not in taken else f"{variable.name}{len(found)}"
    return found


def _object(parts: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{name}: {text}' for name, text in parts.items())}}}"


def _listed(texts: Iterable[str]) -> str:
    return "[\n" + ",\n".join(texts) + "]"


def _words(doc: str) -> str:
    return " ".join(doc.split())


def _data(value: object) -> str:
    # Inside of a page, "</" could end the script.
    return json.dumps(value, ensure_ascii=False).replace("</", "<\\/")
