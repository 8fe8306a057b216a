"""Mutants of the specification: each rule with one small change, as data. Whoever proves the spec must notice every one that matters."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from colofd.spec.language import And, Equal, Every, Expr, Literal, Not, Or, Read, Rule, Some, Spec, Update, Where
from colofd.spec.language.prose import prose

T = TypeVar("T")

Change = tuple[str, Expr[Any]]
"""What is done, in words, and the expression with it."""


@dataclass(frozen=True)
class Edit:
    """One place of a rule, a guard or else an update, and what is written there; nothing is left there if that is None."""

    doc: str
    is_guard: bool
    number: int
    guard: Expr[bool] | None = None
    update: Update | None = None

    def apply(self, rule: Rule) -> Rule:
        """Return the rule with the change."""
        if self.is_guard:
            return dataclasses.replace(rule, guards=_put(rule.guards, self.number, self.guard))
        return dataclasses.replace(rule, updates=_put(rule.updates, self.number, self.update))


@dataclass(frozen=True)
class Mutant:
    """One change of one rule.

    `rule` is the changed rule of the whole specification, `original` what it was.
    `base` is the rule with the same change without the layer, or None if what is changed belongs to the layer.
    """

    edit: Edit
    original: Rule
    rule: Rule
    base: Rule | None

    @property
    def name(self) -> str:
        """The rule's id and what is changed."""
        return f"{self.rule.id}: {self.edit.doc}"


def mutants(whole: Spec, base: Spec) -> tuple[Mutant, ...]:
    """Return all mutants of the rules of `whole`, which is `base` or a layer over it.

    A guard loses a conjunct or an alternative, an update is left out, a set of members of an enumeration gets or loses one.
    """
    of_base = {rule.id: rule for rule in base.rules}
    return tuple(_mutant(rule, of_base.get(rule.id), edit) for rule in whole.rules for edit in _edits(rule))


def _mutant(rule: Rule, base: Rule | None, edit: Edit) -> Mutant:
    """Return a mutant; a layer adds its guards and updates behind those of the base."""
    is_of_base = base is not None and edit.number < len(base.guards if edit.is_guard else base.updates)
    return Mutant(edit, rule, edit.apply(rule), edit.apply(base) if base is not None and is_of_base else None)


def _put(places: tuple[T, ...], number: int, new: T | None) -> tuple[T, ...]:
    return (*places[:number], *([] if new is None else [new]), *places[number + 1 :])


def _edits(rule: Rule) -> Iterator[Edit]:
    for number, guard in enumerate(rule.guards):
        for part, rest in conjuncts(guard):
            yield Edit(f"without the guard {prose(part)}", True, number, guard=rest)
        for doc, changed in _narrowed(guard):
            yield Edit(f"guard {doc}", True, number, guard=changed)
    for number, update in enumerate(rule.updates):
        yield Edit(f"does not write {update.cell.name}", False, number)
        for doc, changed in _other_sets(update.value):
            yield Edit(f"{update.cell.name} is written {doc}", False, number, update=dataclasses.replace(update, value=changed))


def conjuncts(guard: Expr[bool]) -> Iterator[tuple[Expr[bool], Expr[bool] | None]]:
    """Yield one by one what a guard demands, with what is left of the guard without it; in every quantifier over all, too."""
    match guard:
        case And(left=left, right=right):
            for part, rest in conjuncts(left):
                yield part, right if rest is None else And(rest, right)
            for part, rest in conjuncts(right):
                yield part, left if rest is None else And(left, rest)
        case Every(variable=variable, body=body):
            for part, rest in conjuncts(body):
                yield Every(variable, part), None if rest is None else Every(variable, rest)
        case _:
            yield guard, None


def _narrowed(guard: Expr[bool]) -> Iterator[Change]:
    """Yield what becomes of a guard if some alternative or condition in it is left out, or a set of it gets or loses a member."""
    yield from _other_sets(guard)
    yield from _fewer_alternatives(guard)


def _fewer_alternatives(expression: Expr[Any]) -> Iterator[Change]:
    """Yield the expression without one side of an `or`; `and` below an `or` loses one side as well."""
    if _enum_set(expression) is not None:
        return
    if isinstance(expression, Or):
        for gone, left in ((expression.left, expression.right), (expression.right, expression.left)):
            yield f"without the alternative {prose(gone)}", left
        for side in ("left", "right"):
            for part, rest in conjuncts(getattr(expression, side)):
                if rest is not None:
                    yield f"without {prose(part)} in an alternative", _with_part(expression, side, rest)
    yield from _inside(expression, _fewer_alternatives)


def _other_sets(expression: Expr[Any]) -> Iterator[Change]:
    """Yield the expression with a member of an enumeration more or less in one of its sets; a single member is a set and stays in it."""
    found = _enum_set(expression)
    if found is None:
        yield from _inside(expression, _other_sets)
        return
    asked, members = found
    for member in type(members[0]):
        if member not in members:
            yield f"with {member.name} too in {prose(expression)}", asked.within(*members, member)
        elif len(members) > 1:
            yield f"without {member.name} in {prose(expression)}", asked.within(*(each for each in members if each is not member))


def _inside(expression: Expr[Any], changes: Callable[[Expr[Any]], Iterator[Change]]) -> Iterator[Change]:
    """Yield the expression with each change of one of its parts; keys of cells stay as they are."""
    for name in _parts(expression):
        for doc, changed in changes(getattr(expression, name)):
            yield doc, _with_part(expression, name, changed)


def _parts(expression: Expr[Any]) -> tuple[str, ...]:
    match expression:
        case And() | Or() | Equal():
            return ("left", "right")
        case Not():
            return ("operand",)
        case Where():
            return ("condition", "then", "otherwise")
        case Every() | Some():
            return ("body",)
    return ()


def _with_part(expression: Any, name: str, part: Expr[Any]) -> Expr[Any]:
    changed: Expr[Any] = dataclasses.replace(expression, **{name: part})
    return changed


def _enum_set(expression: Expr[Any]) -> tuple[Expr[Any], list[Enum]] | None:
    """Return what is asked, and the members of an enumeration of which it must be one; None if the expression is not of that form."""
    match expression:
        case Equal(left=Read() as left, right=Literal(value=Enum() as value)):
            return left, [value]
        case Or(left=left, right=Equal(left=asked, right=Literal(value=Enum() as value))):
            rest = _enum_set(left)
            # `within` makes one tree of what is asked, and all its alternatives share it.
            if rest is not None and rest[0] is asked:
                return rest[0], [*rest[1], value]
    return None
