"""Expressions as text for people: one line, mathematical signs, the names of the spec."""

from enum import Enum
from typing import Any

from colofd.spec.language.cells import Update
from colofd.spec.language.expressions import And, Constant, Equal, Every, Expr, Literal, Not, Or, Parameter, Read, Some, Where


def prose(expression: Expr[Any]) -> str:  # noqa: C901  # one case for each kind of node
    """Return an expression as one line of text."""
    match expression:
        case Literal(value=Enum() as value):
            return value.name
        case Literal(value=value):
            return "yes" if value else "no"
        case Constant(name=name) | Parameter(name=name):
            return name
        case Read(cell=cell, key=()):
            return cell.name
        case Read(cell=cell, key=key):
            return f"{cell.name}[{', '.join(prose(part) for part in key)}]"
        case Equal(left=left, right=right):
            return f"{_tight(left)} = {_tight(right)}"
        case Not(operand=Equal(left=left, right=right)):
            return f"{_tight(left)} ≠ {_tight(right)}"
        case Or(left=Not(operand=left), right=right):
            return f"{_tight(left)} → {_tight(right)}"
        case And(left=left, right=right):
            return f"{_tight(left, And)} ∧ {_tight(right, And)}"
        case Or(left=left, right=right):
            return f"{_tight(left, Or)} ∨ {_tight(right, Or)}"
        case Not(operand=operand):
            return f"¬{_tight(operand)}"
        case Where(condition=condition, then=then, otherwise=otherwise):
            return f"if {prose(condition)} then {prose(then)} else {prose(otherwise)}"
        case Every(variable=variable, body=body):
            return f"∀{variable.name}. {prose(body)}"
        case Some(variable=variable, body=body):
            return f"∃{variable.name}. {prose(body)}"
    raise AssertionError(expression)


def update_prose(update: Update) -> str:
    """Return one write of a step as one line of text; one that is made for all values of a key begins with ∀."""
    everyone = "".join(f"∀{variable.name}. " for variable in update.bound)
    key = f"[{', '.join(prose(part) for part in update.key)}]" if update.key else ""
    return f"{everyone}{update.cell.name}{key} := {prose(update.value)}"


def _tight(expression: Expr[Any], inside: type[And] | type[Or] | None = None) -> str:
    """Return the text in brackets where it would otherwise be misread."""
    is_implication = isinstance(expression, Or) and isinstance(expression.left, Not)
    is_same_kind = inside is not None and isinstance(expression, inside) and not is_implication
    is_comparison = isinstance(expression, Equal) or (isinstance(expression, Not) and isinstance(expression.operand, Equal))
    is_loose = isinstance(expression, And | Or | Where | Every | Some) or (is_comparison and inside is None)
    return f"({prose(expression)})" if is_loose and not is_same_kind else prose(expression)
