"""The graph of sorts: without a cycle, every obligation is in the decidable fragment and has only finite counter-examples.

An edge from A to B says that a member of A may demand a member of B: by a cell from A to B, or by an
existential quantifier over B below a universal one over A (which a solver turns into such a function).
"""

import functools
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

from colofd.spec.language import And, Equal, Every, Expr, Not, Or, Read, Some, Sort, Spec, Where, sort_name

Edges = set[tuple[str, str]]
Outer = frozenset[Sort]


def sort_edges(spec: Spec) -> Edges:
    """Return the edges that the cells and all obligations of `spec` make, as pairs of names."""
    edges = {(key, cell.to) for cell in spec.state.cells() for key in cell.key if _is_unbounded(cell.to)}
    nothing: Outer = frozenset()
    for clause in (spec.initial, *spec.clauses):
        edges.update(_skolem(clause.formula, True, nothing), _skolem(clause.formula, False, nothing))
    for rule in spec.rules:
        for guard in rule.guards:
            edges.update(_skolem(guard, True, nothing))
        for update in rule.updates:
            # A value is read wherever a clause reads the cell, so below any quantifier and with either sign.
            below = frozenset(sort for cell in spec.state.cells() for sort in cell.key)
            edges.update(_skolem(update.value, True, below), _skolem(update.value, False, below))
    return {(sort_name(source), sort_name(target)) for source, target in edges}


def cycle(spec: Spec) -> tuple[str, ...]:
    """Return the shortest cycle of sorts, its first again at the end; nothing if there is none."""
    return _cycle(sort_edges(spec))


def question_cycle(spec: Spec, asserted: Iterable[Expr[bool]]) -> tuple[str, ...]:
    """Return the shortest cycle of sorts that cells and the formulas of one question make, as `cycle` does."""
    cells = {(sort_name(key), sort_name(cell.to)) for cell in spec.state.cells() for key in cell.key if _is_unbounded(cell.to)}
    return _cycle(cells.union(*(_asserted_edges(formula) for formula in asserted)))


@functools.lru_cache(maxsize=256)
def _asserted_edges(formula: Expr[bool]) -> frozenset[tuple[str, str]]:
    """Return the edges of one formula; clauses are asked again and again."""
    nothing: Outer = frozenset()
    return frozenset((sort_name(source), sort_name(target)) for source, target in _skolem(formula, True, nothing))


def _cycle(edges: Edges) -> tuple[str, ...]:
    paths: list[tuple[str, ...]] = [(source,) for source in sorted({source for source, _ in edges})]
    while paths:
        longer = [(*path, target) for path in paths for source, target in sorted(edges) if source == path[-1]]
        for path in longer:
            if path[0] == path[-1]:
                return path
        paths = [path for path in longer if len(set(path)) == len(path)]
    return ()


def _is_unbounded(sort: Sort) -> bool:
    return sort is not bool and not issubclass(sort, Enum)


def _skolem(expression: Expr[Any], positive: bool, outer: Outer) -> Iterator[tuple[Sort, Sort]]:
    """Yield an edge for each existential quantifier of an asserted formula to each universal one around it."""
    match expression:
        case Every(variable=variable, body=body) | Some(variable=variable, body=body):
            if isinstance(expression, Some) is positive:
                yield from ((sort, variable.sort) for sort in outer)
                yield from _skolem(body, positive, outer)
            else:
                yield from _skolem(body, positive, outer | {variable.sort})
        case Not(operand=operand):
            yield from _skolem(operand, not positive, outer)
        case And(left=left, right=right) | Or(left=left, right=right):
            yield from _skolem(left, positive, outer)
            yield from _skolem(right, positive, outer)
        case Equal(left=left, right=right):
            yield from _both(outer, left, right)
        case Where(condition=condition, then=then, otherwise=otherwise):
            yield from _both(outer, condition)
            yield from _skolem(then, positive, outer)
            yield from _skolem(otherwise, positive, outer)
        case Read(key=key):
            yield from _both(outer, *key)


def _both(outer: Outer, *parts: Expr[Any]) -> Iterator[tuple[Sort, Sort]]:
    for part in parts:
        yield from _skolem(part, True, outer)
        yield from _skolem(part, False, outer)
