"""SMT-LIB 2.6 text of an obligation. Every solver reads this text, and nothing else."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from colofd.model.proof_obligations import AnyObligation, TextObligation
from colofd.model.proof_trees import walk
from colofd.spec.language import And, Constant, Equal, Every, Expr, Literal, Not, Or, Parameter, Read, Some, Sort, Spec, Where, sort_name

Names = Mapping[Parameter[Any], str]


class Writer:
    """Writes obligations of one specification; what they share is written once."""

    def __init__(self, spec: Spec) -> None:
        self._shared = {clause.formula: formula(clause.formula, {}) for clause in spec.clauses}
        self._declarations = "\n".join(_declarations(spec))

    def text(self, obligation: AnyObligation) -> str:
        """Return the whole file: declarations, hypotheses, the goal denied, and the question."""
        if isinstance(obligation, TextObligation):
            return obligation.text
        asserted = [*obligation.hypotheses, Not(obligation.goal)]
        names = _free(asserted)
        constants = [f"(declare-const {name} {_sort(parameter.sort)})" for parameter, name in names.items()]
        assertions = [f"(assert {self._shared.get(expression) or formula(expression, names)})" for expression in asserted]
        head = [f"; {obligation.name} ({obligation.kind})", f"; expected: {obligation.expected}", "(set-logic UFDT)", self._declarations]
        return "\n".join([*head, *constants, *assertions, "(check-sat)", ""])


def formula(expression: Expr[Any], names: Names) -> str:  # noqa: C901  # one case for each kind of node
    """Return an expression as an S-expression; `names` are those of the variables around it."""

    def inner(*parts: Expr[Any]) -> str:
        return " ".join(formula(part, names) for part in parts)

    match expression:
        case Literal(value=Enum() as value):
            return _member(value)
        case Literal(value=value):
            return "true" if value else "false"
        case Constant(name=name):
            return name
        case Parameter():
            return names[expression]
        case Read(cell=cell, key=key):
            return f"({cell.name} {inner(*key)})" if key else cell.name
        case Equal(left=left, right=right):
            return f"(= {inner(left, right)})"
        case And(left=left, right=right):
            return f"(and {inner(left, right)})"
        case Or(left=left, right=right):
            return f"(or {inner(left, right)})"
        case Not(operand=operand):
            return f"(not {inner(operand)})"
        case Where(condition=condition, then=then, otherwise=otherwise):
            return f"(ite {inner(condition, then, otherwise)})"
        case Every(variable=variable, body=body) | Some(variable=variable, body=body):
            quantifier = "forall" if isinstance(expression, Every) else "exists"
            name = f"{variable.name}.{len(names)}"
            return f"({quantifier} (({name} {_sort(variable.sort)})) {formula(body, {**names, variable: name})})"
    raise AssertionError(expression)


def _free(expressions: list[Expr[Any]]) -> dict[Parameter[Any], str]:
    """Return a name for each parameter that no quantifier binds."""
    nodes = [node for expression in expressions for node in walk(expression)]
    bound = {node.variable for node in nodes if isinstance(node, Every | Some)}
    free = dict.fromkeys(node for node in nodes if isinstance(node, Parameter) and node not in bound)
    return {parameter: f"{parameter.name}!{number}" for number, parameter in enumerate(free)}


def _declarations(spec: Spec) -> Iterator[str]:
    cells = spec.state.cells()
    sorts = dict.fromkeys(sort for cell in cells for sort in (*cell.key, cell.to) if sort is not bool)
    for sort in sorts:
        if issubclass(sort, Enum):
            yield f"(declare-datatypes (({_sort(sort)} 0)) (({' '.join(f'({_member(member)})' for member in sort)})))"
        else:
            yield f"(declare-sort {_sort(sort)} 0)"
    yield from (f"(declare-const {constant.name} {_sort(constant.sort)})" for constant in _constants(spec))
    for cell in cells:
        yield f"(declare-fun {cell.name} ({' '.join(map(_sort, cell.key))}) {_sort(cell.to)})"


def _constants(spec: Spec) -> list[Constant[Any]]:
    formulas = [spec.initial.formula, *(clause.formula for clause in spec.clauses)]
    for rule in spec.rules:
        formulas += [*rule.guards, *(part for update in rule.updates for part in (*update.key, update.value))]
    return list(dict.fromkeys(node for expression in formulas for node in walk(expression) if isinstance(node, Constant)))


def _sort(sort: Sort) -> str:
    return "Bool" if sort is bool else sort_name(sort)


def _member(value: Enum) -> str:
    return f"{type(value).__name__}.{value.name}"
