"""The reference model with its rules compiled: the same machine, fast enough for long traces.

A rule's tree is written as two Python functions, of its guards and of its updates, for one page or for many. Only the way to a step that
is allowed is short: where a guard fails, the slow machine is asked, and says why.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np

from colofd.model.machine import MAIN_NUMBER, NO_OTHERS, Array, Machine, is_pagewise
from colofd.spec.language import And, Constant, Equal, Every, Expr, Literal, Not, Or, Parameter, Read, Rule, Some, Sort, Update, Where
from colofd.spec.state import Channel, Page, Value

Taking = Callable[..., Any]


@dataclass(frozen=True)
class Compiled:
    """A rule as two functions of the cells, of the members of each sort, and of the rule's arguments in order.

    `sorts` are those of its parameters. `is_one_by_one`: it cannot be taken for many pages at once.
    """

    rule: Rule
    is_enabled: Taking
    update: Taking
    sorts: tuple[Sort, ...]
    is_one_by_one: bool


class CompiledMachine(Machine):
    """A `Machine` that takes the same steps in less time."""

    @cached_property
    def _steps(self) -> dict[tuple[str, bool], Compiled]:
        """Return what has been compiled, by the rule's id, and whether it is for many pages."""
        return {}

    @cached_property
    def _members(self) -> dict[str, Array]:
        sorts = {sort for cell in self.spec.state.cells() for sort in cell.key}
        return {sort.__name__: np.arange(self._size(sort)) for sort in sorts}

    def fire(
        self,
        identifier: str,
        *,
        channel: int = MAIN_NUMBER,
        pages: Sequence[int] = (),
        values: Sequence[int] | Array = (),
        others: Mapping[Sort, int] = NO_OTHERS,
    ) -> None:
        """Take one step, or one for each page, as `Machine.fire` does."""
        count = len(pages)
        step = self._step(identifier, count > 1)
        if not count and Page in step.sorts:
            return
        if others or (count > 1 and (step.is_one_by_one or len(set(pages)) < count)):
            super().fire(identifier, channel=channel, pages=pages, values=values, others=others)
            return
        given = {Channel: channel, Page: pages, Value: values}
        arguments = [_argument(given[sort], count > 1) for sort in step.sorts]
        if not step.is_enabled(self.cells, self._members, *arguments):
            # It refuses as well, and says which guard fails.
            super().fire(identifier, channel=channel, pages=pages, values=values)
            raise AssertionError(identifier)
        step.update(self.cells, self._members, *arguments)
        self.steps += count or 1

    def _step(self, identifier: str, is_many: bool) -> Compiled:
        found = self._steps.get((identifier, is_many))
        if found is None:
            found = self._steps[identifier, is_many] = compile_rule(self.spec.rule(identifier), is_many=is_many)
        return found


def _argument(given: Any, is_many: bool) -> Any:
    if isinstance(given, int):
        return given
    return np.asarray(given) if is_many else given[0]


def compile_rule(rule: Rule, *, is_many: bool) -> Compiled:
    """Return a rule as Python functions, for one page or for arrays of pages and values."""
    names = {each: f"p{number}" for number, each in enumerate(rule.parameters)}
    arrays = frozenset(each for each in rule.parameters if is_many and each.sort in (Page, Value))
    writing = _Writing(names, arrays, dimensions=1 if arrays else 0)
    head = ", ".join(["cells", "members", *names.values()])
    guards = [f"all_({text})" if is_array else text for text, is_array in map(writing.text, rule.guards)]
    updates = [writing.update(number, each) for number, each in enumerate(rule.updates)]
    lines = [f"def is_enabled({head}):", f"    return {' and '.join(guards) or 'True'}", f"def update({head}):"]
    # All values are computed before the first write.
    lines += [f"    {value}" for value, _ in updates] + [f"    {write}" for _, write in updates] + ["    return None"]
    functions: dict[str, Taking] = {"all_": np.all, "not_": np.logical_not, "where_": np.where, "copy_": np.array, "every_": _every}
    functions["some_"] = _some
    exec(compile("\n".join(lines), f"<{rule.id}>", "exec"), functions)  # noqa: S102  # written above, from the specification alone
    sorts = tuple(each.sort for each in rule.parameters)
    return Compiled(rule, functions["is_enabled"], functions["update"], sorts, not is_pagewise(rule))


def _every(body: Array, dimensions: int) -> Array:
    return np.asarray(body.all(axis=0)) if np.ndim(body) > dimensions else body


def _some(body: Array, dimensions: int) -> Array:
    return np.asarray(body.any(axis=0)) if np.ndim(body) > dimensions else body


@dataclass(frozen=True)
class _Writing:
    """What stands for the variables in scope: their names, which of them are arrays, and how many leading axes these have together."""

    names: Mapping[Parameter[Any], str]
    arrays: frozenset[Parameter[Any]]
    dimensions: int

    def within(self, variables: Sequence[Parameter[Any]]) -> "_Writing":
        """Return the scope inside of a quantifier, or of an update of many keys."""
        name = f"members['{variables[0].sort.__name__}']"
        shape = ", ".join(["-1", *["1"] * self.dimensions])
        text = f"{name}.reshape({shape})" if self.dimensions else name
        return _Writing({**self.names, **dict.fromkeys(variables, text)}, self.arrays | set(variables), self.dimensions + 1)

    def update(self, number: int, update: Update) -> tuple[str, str]:
        """Return the line that computes what is written, and the line that writes it."""
        inner = self.within(update.bound) if update.bound else self
        value, is_array = inner.text(update.value)
        copied = f"copy_({value})" if is_array else value
        return f"v{number} = {copied}", f"{inner.place(update.cell.name, update.key)} = v{number}"

    def place(self, cell: str, key: tuple[Expr[Any], ...]) -> str:
        """Return the text of a cell at a key."""
        parts = [self.text(part) for part in key]
        arrays = [part for part, (_, is_array) in zip(key, parts, strict=True) if is_array]
        if self.dimensions == 1 and len(arrays) == 1 and self._is_all(arrays[0]):
            return f"cells['{cell}'][{', '.join(':' if is_array else text for text, is_array in parts)}]"
        return f"cells['{cell}'][{', '.join(text for text, _ in parts) or '()'}]"

    def _is_all(self, part: Expr[Any]) -> bool:
        """Return whether the one axis that there is stands for all members of a sort, in order."""
        return isinstance(part, Parameter) and self.names[part].startswith("members")

    def text(self, expression: Expr[Any]) -> tuple[str, bool]:  # noqa: C901  # one case a node
        """Return an expression as Python, and whether its value may be an array."""
        match expression:
            case Read(cell=cell, key=key):
                return self.place(cell.name, key), any(self.text(part)[1] for part in key)
            case Literal(value=value):
                return repr(list(type(value)).index(value) if isinstance(value, Enum) else value), False
            case Parameter():
                return self.names[expression], expression in self.arrays
            case Constant():
                return "0", False
            case Not(operand=operand):
                inner, is_array = self.text(operand)
                return (f"not_({inner})" if is_array else f"(not {inner})"), is_array
            case Equal(left=left, right=right):
                return self._both(left, right, "==", "==")
            case And(left=left, right=right):
                return self._both(left, right, "and", "&")
            case Or(left=left, right=right):
                return self._both(left, right, "or", "|")
            case Where(condition=condition, then=then, otherwise=otherwise):
                return self._where(condition, then, otherwise)
            case Every(variable=variable, body=body):
                return self._quantified("every_", variable, body)
            case Some(variable=variable, body=body):
                return self._quantified("some_", variable, body)
        raise AssertionError(expression)

    def _both(self, left: Expr[Any], right: Expr[Any], scalar: str, array: str) -> tuple[str, bool]:
        (first, is_first), (second, is_second) = self.text(left), self.text(right)
        is_array = is_first or is_second
        return f"({first} {array if is_array else scalar} {second})", is_array

    def _where(self, condition: Expr[Any], then: Expr[Any], otherwise: Expr[Any]) -> tuple[str, bool]:
        (asked, is_array), (first, is_first), (second, is_second) = map(self.text, (condition, then, otherwise))
        if is_array:
            return f"where_({asked}, {first}, {second})", True
        return f"({first} if {asked} else {second})", is_first or is_second

    def _quantified(self, name: str, variable: Parameter[Any], body: Expr[Any]) -> tuple[str, bool]:
        inner, is_array = self.within((variable,)).text(body)
        return (f"{name}({inner}, {self.dimensions})", self.dimensions > 0) if is_array else (inner, False)
