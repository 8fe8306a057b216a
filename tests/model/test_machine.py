"""The machine takes the steps of the spec: compared with a reading that goes element by element, on states that nothing has chosen."""

from collections.abc import Mapping
from enum import Enum
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colofd.model import machine as machine_module
from colofd.model.machine import Machine, NotEnabled
from colofd.spec.constants import Step
from colofd.spec.language import (
    Actor,
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
    Rule,
    RuleBook,
    Some,
    Spec,
    Where,
)
from colofd.spec.language.prose import prose
from colofd.spec.protocol import SPEC
from colofd.spec.state import Channel, Page, Value, World

PAGE: Final = 16
PAGES: Final = 3
CHANNELS: Final = 2
VALUES: Final = 3

PAGEWISE: Final = [
    "guest.primary-write",
    "guest.secondary-write",
    "receive.zero-page",
    "receive.read-part",
    "receive.read-page",
    "receive.mirror",
    "main.read-part",
    "checkpoint.flush-page",
]
WITH_PAGE: Final = [rule.id for rule in SPEC.rules if any(parameter.sort is Page for parameter in rule.parameters)]

Cells = dict[str, npt.NDArray[Any]]
Chosen = Mapping[Parameter[Any], int]


def named_values(*formulas: Expr[bool]) -> dict[str, list[int]]:
    """Return, for each cell, the numbers of the values that the formulas compare it with."""
    found: dict[str, list[int]] = {}
    parts: list[Any] = list(formulas)
    while parts:
        match parts.pop():
            case Equal(left=Read(cell=cell), right=Literal(value=Enum() as value)):
                found.setdefault(cell.name, []).append(list(type(value)).index(value))
            case And(left=left, right=right) | Or(left=left, right=right):
                parts += [left, right]
            case Not(operand=part) | Every(body=part) | Some(body=part):
                parts.append(part)
    return found


def scrambled(seed: int, *formulas: Expr[bool]) -> tuple[Machine, np.random.Generator]:
    """Return a machine in any state whatever. Most entries of a cell are alike, or what the formulas ask for, so that they may hold."""
    machine = Machine(PAGES, CHANNELS, colo=True, page_size=PAGE)
    named = named_values(*formulas)
    for number in range(1, VALUES):
        machine.contents.number(bytes([number]) * PAGE)
    draw = np.random.default_rng(seed)
    for cell in SPEC.state.cells():
        count = 2 if cell.to is bool else len(list(cell.to)) if issubclass(cell.to, Enum) else VALUES
        entries = machine.cells[cell.name]
        drawn = draw.integers(count, size=entries.shape)
        likely = draw.integers(count) if draw.random() < 0.3 else draw.choice(named.get(cell.name, range(count)), size=entries.shape)
        machine.cells[cell.name] = np.where(draw.random(entries.shape) < 0.1, drawn, likely).astype(entries.dtype)
    return machine, draw


def copied(machine: Machine) -> Machine:
    """Return a machine in the same state."""
    twin = Machine(PAGES, CHANNELS, colo=True, page_size=PAGE)
    twin.contents = machine.contents
    twin.cells = {name: cell.copy() for name, cell in machine.cells.items()}
    return twin


def differing(one: Cells, other: Cells) -> list[str]:
    """Return the names of the cells that differ."""
    return [name for name in one if not np.array_equal(one[name], other[name])]


def read(expression: Expr[Any], cells: Cells, chosen: Chosen) -> int:  # noqa: C901  # one case for each kind of node
    """Evaluate an expression for one value of each variable; truth values and members of enumerations are numbers."""

    def inner(part: Expr[Any]) -> int:
        return read(part, cells, chosen)

    match expression:
        case Literal(value=Enum() as value):
            return list(type(value)).index(value)
        case Literal(value=value):
            return int(value)
        case Constant():
            return 0
        case Parameter():
            return chosen[expression]
        case Read(cell=cell, key=key):
            return int(cells[cell.name][tuple(inner(part) for part in key)])
        case Equal(left=left, right=right):
            return inner(left) == inner(right)
        case And(left=left, right=right):
            return inner(left) and inner(right)
        case Or(left=left, right=right):
            return inner(left) or inner(right)
        case Not(operand=operand):
            return not inner(operand)
        case Where(condition=condition, then=then, otherwise=otherwise):
            return inner(then) if inner(condition) else inner(otherwise)
        case Every(variable=variable, body=body):
            return all(read(body, cells, {**chosen, variable: each}) for each in members(variable))
        case Some(variable=variable, body=body):
            return any(read(body, cells, {**chosen, variable: each}) for each in members(variable))
    raise AssertionError(expression)


def members(variable: Parameter[Any]) -> range:
    """Return the numbers of everything of a sort."""
    return range({Page: PAGES, Channel: CHANNELS + 1, Value: VALUES}[variable.sort])


def step(rule: Rule, cells: Cells, chosen: Chosen) -> str | Cells:
    """Return the first guard that fails, or the state after the step: everything is read before anything is written."""
    for guard in rule.guards:
        if not read(guard, cells, chosen):
            return prose(guard)
    after = {name: cell.copy() for name, cell in cells.items()}
    for update in rule.updates:
        for numbers in product(*map(members, update.bound)):
            inner = {**chosen, **dict(zip(update.bound, numbers, strict=True))}
            after[update.cell.name][tuple(read(part, cells, inner) for part in update.key)] = read(update.value, cells, inner)
    return after


def arguments(rule: Rule, draw: np.random.Generator, pages: int) -> dict[str, Any]:
    """Return what a rule is fired with: one channel, and so many different pages with a value each."""
    sorts = {parameter.sort for parameter in rule.parameters}
    drawn: dict[str, Any] = {"channel": int(draw.integers(CHANNELS + 1))} if Channel in sorts else {}
    if Page in sorts:
        drawn["pages"] = draw.permutation(PAGES)[:pages].tolist()
    if Value in sorts:
        drawn["values"] = draw.integers(VALUES, size=pages).tolist()
    return drawn


def chosen_for(rule: Rule, given_arguments: Mapping[str, Any]) -> Chosen:
    """Return the number of each parameter of a rule that is fired for one page."""
    numbers = {Channel: given_arguments.get("channel"), **{sort: given_arguments.get(name, [None])[0] for sort, name in _LISTS.items()}}
    return {parameter: numbers[parameter.sort] for parameter in rule.parameters}


_LISTS: Final = {Page: "pages", Value: "values"}


def fired(machine: Machine, identifier: str, given_arguments: Mapping[str, Any]) -> str:
    """Fire; return the guard that fails, empty if none does."""
    try:
        machine.fire(identifier, **given_arguments)
    except NotEnabled as refusal:
        return refusal.guard
    return ""


@pytest.mark.parametrize("rule", SPEC.rules, ids=lambda rule: rule.id)
def test_a_step_is_what_the_text_says(rule: Rule) -> None:
    """Given any states, when a rule is fired, then guard or effect are those of the reading that goes element by element.

    Each guard of the rule is seen to fail, and the rule to be taken.
    """
    wanted = {prose(guard) for guard in rule.guards} | {""}
    seen: set[str] = set()
    for seed in range(3000):
        machine, draw = scrambled(seed, *rule.guards)
        drawn = arguments(rule, draw, 1)
        before = {name: cell.copy() for name, cell in machine.cells.items()}
        expected = step(rule, before, chosen_for(rule, drawn))
        refused = fired(machine, rule.id, drawn)
        assert refused == (expected if isinstance(expected, str) else ""), f"seed {seed}, {drawn}"
        assert differing(machine.cells, before if isinstance(expected, str) else expected) == [], f"seed {seed}, {drawn}"
        seen.add(refused)
        if seen == wanted and seed >= 20:
            break
    assert seen == wanted


def test_a_clause_is_what_the_text_says() -> None:
    """Given any states, then the clauses that are violated are those of the other reading; each is violated in some state."""
    seen: set[str] = set()
    for seed in range(10 * len(SPEC.clauses)):
        machine, _ = scrambled(seed, SPEC.clauses[seed % len(SPEC.clauses)].formula)
        violated = machine.violated()
        assert violated == [clause.id for clause in SPEC.clauses if not read(clause.formula, machine.cells, {})], f"seed {seed}"
        seen.update(violated)
    assert seen == {clause.id for clause in SPEC.clauses}


def differs_from_one_by_one(identifier: str, seed: int) -> tuple[str, bool]:
    """Fire a rule for two pages at once, and for one after the other; return what differs, and whether it was taken."""
    rule = SPEC.rule(identifier)
    together, draw = scrambled(seed, *rule.guards)
    apart = copied(together)
    drawn = arguments(rule, draw, 2)
    refused = fired(together, identifier, drawn)
    split = [{name: value[at : at + 1] if isinstance(value, list) else value for name, value in drawn.items()} for at in range(2)]
    if any(fired(apart, identifier, each) for each in split):
        return ("" if refused else "only all at once are allowed"), False
    return refused or ", ".join(differing(together.cells, apart.cells)), True


@pytest.mark.parametrize("identifier", WITH_PAGE)
def test_many_pages_are_as_one_after_the_other(identifier: str) -> None:
    """Given any states, when a rule is fired for two pages at once, then all is as if it was fired for one after the other."""
    taken = 0

    @settings(max_examples=200)
    @given(st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        nonlocal taken
        difference, was_taken = differs_from_one_by_one(identifier, seed)
        assert not difference
        taken += was_taken

    check()
    assert taken or identifier.startswith("main."), "two pages were never allowed"


def test_the_rules_for_many_pages_are_known() -> None:
    """Given the rules with a page, then those that can be fired for many pages at once are these."""
    assert [identifier for identifier in WITH_PAGE if machine_module.is_pagewise(SPEC.rule(identifier))] == PAGEWISE


@pytest.mark.parametrize("identifier", ["main.zero-page", "main.mirror", "send.normal-page"])
def test_pages_that_depend_on_each_other_are_told_apart(identifier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given rules that a page can forbid for the next one, when they are fired at once all the same, then it shows."""
    assert not any(differs_from_one_by_one(identifier, seed)[0] for seed in range(500))
    monkeypatch.setattr(machine_module, "is_pagewise", lambda _rule: True)
    assert any(differs_from_one_by_one(identifier, seed)[0] for seed in range(500))


@pytest.mark.parametrize("identifier", WITH_PAGE)
def test_a_refusal_changes_nothing(identifier: str) -> None:
    """Given any states, when a rule is refused for the second of two pages, then the first has changed nothing either."""
    refusals = 0
    for seed in range(300):
        rule = SPEC.rule(identifier)
        machine, draw = scrambled(seed, *rule.guards)
        before = copied(machine)
        if fired(machine, identifier, arguments(rule, draw, 2)):
            refusals += 1
            assert differing(machine.cells, before.cells) == []
            assert machine.steps == 0
    assert refusals


def test_a_refusal_names_rule_guard_and_pages() -> None:
    """Given a precopy, when a page is sent twice, then the refusal names the rule, the guard that fails, and this page alone."""
    machine = Machine(PAGES, CHANNELS, colo=True, page_size=PAGE)
    machine.fire(Step.START)
    machine.fire("send.zero-page", channel=1, pages=(1,))
    with pytest.raises(NotEnabled) as caught:
        machine.fire("send.zero-page", channel=1, pages=(0, 1, 2))
    assert (caught.value.rule, caught.value.guard) == ("send.zero-page", "unsent[page]")
    assert str(caught.value) == "send.zero-page is not enabled: unsent[page] does not hold (pages 1)"
    machine.cells["phase"][()] = 0
    refusal = machine.why_not(Step.EXIT, channel=1)
    assert refusal is not None
    assert str(refusal) == "thread.exit is not enabled: phase ≠ SETUP does not hold"
    assert machine.why_not(Step.START) is None


def swap(s: World, page: Expr[Page]) -> None:
    """Guest and cache change places."""
    guest, cache = s.guest[page], s.cache[page]
    s.guest[page] = cache
    s.cache[page] = guest


@pytest.mark.parametrize("pages", [(0, 2), (1,)])
def test_reads_mean_the_state_before(pages: tuple[int, ...]) -> None:
    """Given a rule that writes what it reads, when it is fired, then both values have changed places."""
    book = RuleBook(World)
    book.rule("swap", by=Actor.RECEIVER, source="file.c:function")(swap)
    machine = Machine(PAGES, CHANNELS, colo=True, page_size=PAGE, spec=Spec(World, SPEC.initial, tuple(book), SPEC.clauses))
    machine.cells["guest"][:], machine.cells["cache"][:] = 1, 2
    machine.fire("swap", pages=pages)
    changed = np.isin(np.arange(PAGES), pages)
    assert machine.cells["guest"].tolist() == np.where(changed, 2, 1).tolist()
    assert machine.cells["cache"].tolist() == np.where(changed, 1, 2).tolist()


def test_only_with_colo_the_guest_may_hold_anything() -> None:
    """Given a guest that does not begin as zeros, then only a destination with COLO may have it: there, the cache receives."""
    guest = bytes(range(PAGE)) * PAGES
    assert Machine(PAGES, CHANNELS, colo=True, page_size=PAGE, guest=guest).image("guest", 0, PAGES) == guest
    assert Machine(PAGES, CHANNELS, colo=False, page_size=PAGE, guest=bytes(PAGE * PAGES)).phase.name == "SETUP"
    with pytest.raises(ValueError, match="no initial values"):
        Machine(PAGES, CHANNELS, colo=False, page_size=PAGE, guest=guest)


def test_a_rule_with_a_page_and_no_pages_does_nothing() -> None:
    """Given no pages, when a rule with a page is fired, then nothing happens, whatever its guards say."""
    machine = Machine(PAGES, CHANNELS, colo=True, page_size=PAGE)
    machine.fire(Step.FLUSH_PAGE, pages=())
    assert machine.steps == 0
