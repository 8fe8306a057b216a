"""The gates: what the specification passes, and for each gate a specification that does not."""

import dataclasses

import pytest

from colofd.model.proof import verdicts
from colofd.model.proof_gates import CLAUSES, GHOSTS, GUARDS, PAGES, SORTS, TEXTS, gates, need_obligations, premises
from colofd.model.solver import SolverName, solver
from colofd.spec.language import Actor, ClauseBook, Expr, Index, Map, Rule, RuleBook, Spec, State, every
from colofd.spec.language.prose import prose
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.receive_orders import RECEIVE_ORDERS
from colofd.spec.state import At, Channel, Page, Phase, World

SOLVERS = tuple(SolverName)
STATIC = {SORTS, GHOSTS, TEXTS, PAGES}


def asked(spec: Spec, name: SolverName) -> dict[str, bool]:
    """Ask one solver what the two gates need of a specification without a layer."""
    return {each.obligation.name: each.is_proved for each in verdicts(spec, need_obligations(spec, spec), [solver(name)])}


def with_rules(book: RuleBook[World]) -> Spec:
    return dataclasses.replace(SPEC, rules=tuple(book))


def with_clauses(book: ClauseBook[World]) -> Spec:
    return dataclasses.replace(SPEC, rules=(), clauses=tuple(book))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("whole", [BOTH_SIDES, RECEIVE_ORDERS])
def test_all_gates_are_passed(name: SolverName, whole: Spec) -> None:
    """Given each layer, when a solver is asked for the examples, then nothing is vacuous, and every gate is passed."""
    needs = need_obligations(SPEC, whole)
    proved = {each.obligation.name: each.is_proved for each in verdicts(whole, needs, [solver(name)])}
    assert len(proved) == len(needs)
    assert gates(SPEC, whole, proved) == dict.fromkeys((SORTS, GHOSTS, TEXTS, PAGES, CLAUSES, GUARDS), ())


def test_a_gate_that_was_not_asked_is_not_passed() -> None:
    """Given that one of the examples was not asked for, then the gate which needs it is left out."""
    proved = {each.name: True for each in need_obligations(SPEC, BOTH_SIDES)}
    first, *_ = (name for name in proved if " needs the guard " in name)
    del proved[first]
    assert set(gates(SPEC, BOTH_SIDES, proved)) == {*STATIC, CLAUSES}


def test_ghosts_are_those_that_say_so() -> None:
    """Given all cells of all layers, then a ghost is declared as one, and described as one."""
    cells = {cell for spec in (SPEC, BOTH_SIDES, RECEIVE_ORDERS) for cell in spec.state.cells()}
    assert {cell.name for cell in cells if cell.is_ghost} == {cell.name for cell in cells if cell.doc.startswith("Ghost: ")}
    assert {"survivor", "survivor_device", "has_committed", "is_ahead"} < {cell.name for cell in cells if cell.is_ghost}


def test_a_ghost_that_decides_is_found() -> None:
    """Control: given rules that read a ghost in a guard and in a value, then both are named; one that writes only ghosts is not."""
    book = RuleBook(World)

    @book.rule("guard", by=Actor.RECEIVER, source="test")
    def guard(s: World, page: Expr[Page]) -> None:
        """The ghost is asked."""
        s.when(s.survivor[page] == s.guest[page])

    @book.rule("value", by=Actor.RECEIVER, source="test")
    def value(s: World, page: Expr[Page]) -> None:
        """The ghost is copied."""
        s.guest[page] = s.survivor[page]

    @book.rule("itself", by=Actor.RECEIVER, source="test")
    def itself(s: World, page: Expr[Page]) -> None:
        """The ghost is written."""
        s.survivor[page] = s.survivor[page]

    spec = with_rules(book)
    assert gates(spec, spec, {})[GHOSTS] == ("the ghost survivor decides in guard", "the ghost survivor decides in value")


def test_sorts_that_lead_back_are_found() -> None:
    """Control: given a cell from one sort to another, and one back, then the cycle is named."""

    class One(Index):
        pass

    class Other(Index):
        pass

    class Round(State):
        there = Map(One, Other, "From one to the other.")
        back = Map(Other, One, "And back.")

    spec = Spec(Round, SPEC.initial, (), ())
    assert gates(spec, spec, {})[SORTS] == ("cycle of sorts One -> Other -> One",)


_RULE = SPEC.rules[0]


@pytest.mark.parametrize(
    "rule", [dataclasses.replace(_RULE, id=" "), dataclasses.replace(_RULE, doc=""), dataclasses.replace(_RULE, source="")]
)
def test_a_text_without_a_name_is_found(rule: Rule) -> None:
    """Control: given a rule without id, text or source, then its place is named."""
    spec = dataclasses.replace(SPEC, rules=(rule,))
    (fault,) = gates(spec, spec, {})[TEXTS]
    assert rule.location in fault


@pytest.mark.parametrize("name", SOLVERS)
def test_a_vacuous_guard_is_found(name: SolverName) -> None:
    """Control: given a guard that a clause and another guard imply, below a quantifier too, then it is named, and no other one."""
    book = RuleBook(World)

    @book.rule("implied", by=Actor.RECEIVER, source="test")
    def implied(s: World) -> None:
        """In a flush the guest does not run, and nothing of its own is dirty."""
        s.when(s.phase == Phase.FLUSHING, ~s.guest_running)
        s.when(every(Page)(lambda p: ~s.own_dirty[p] & ~s.peer_dirty[p]))

    spec = with_rules(book)
    assert gates(spec, spec, asked(spec, name))[GUARDS] == (
        "not shown: implied needs the guard ¬guest_running",
        "not shown: implied needs the guard ∀p. ¬own_dirty[p]",
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_a_vacuous_clause_is_found(name: SolverName) -> None:
    """Control: given a clause that is always true, and one whose left side never holds with the others, then both are named."""
    book = ClauseBook(World)

    @book.clause("true", source="test")
    def true(s: World) -> Expr[bool]:
        """A thread is somewhere."""
        return every(Channel)(lambda c: s.channel_at[c].within(*At))

    @book.clause("stopped", source="test")
    def stopped(s: World) -> Expr[bool]:
        """The guest does not run."""
        return ~s.guest_running

    @book.clause("never", source="test")
    def never(s: World) -> Expr[bool]:
        """The left side contradicts another clause."""
        return s.guest_running >> s.colo

    spec = with_clauses(book)
    assert gates(spec, spec, asked(spec, name))[CLAUSES] == (
        "not shown: true is not true of everything",
        "not shown: never speaks of some state, part 1",
    )


def test_each_implication_is_a_part() -> None:
    """Given a clause with implications one in the other, then each left side is asked with those around it."""
    s = World()
    formula = every(Page)(lambda p: s.colo >> (s.sent[p] >> s.received[p])) & (s.deferred >> s.colo)
    assert [prose(each) for each in premises(formula)] == ["∃p. colo", "∃p. colo ∧ sent[p]", "deferred"]
