"""All cards by their ids. The terminal (`colofd explain`) and the documentation print the same ones."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from colofd.conformance.card import Card
from colofd.conformance.cards_of_faults import fault_card
from colofd.conformance.cards_of_proof import assumption_card, control_card
from colofd.conformance.cards_of_spec import (
    chain_card,
    claim_card,
    clause_card,
    deviation_card,
    measure_card,
    question_card,
    rule_card,
    wait_card,
)
from colofd.conformance.cards_of_wire import check_card, reason_card, table_card
from colofd.conformance.mutants_known import FAULTS
from colofd.model.controls import HARMLESS, WRONG
from colofd.spec.assumptions import ASSUMPTIONS
from colofd.spec.profiles import DEVIATIONS
from colofd.spec.progress import both_sides, receiver, waits
from colofd.spec.protocol import BOTH_SIDES, STANDBY
from colofd.spec.questions import QUESTIONS
from colofd.spec.reasons import Reason
from colofd.spec.receive_orders import RECEIVE_ORDERS
from colofd.spec.steps import steps, steps_of_both
from colofd.spec.wire import ALL_TABLES, CHECKS


@dataclass(frozen=True)
class Group:
    """The cards of one kind, each made when it is asked for."""

    title: str
    cards: Mapping[str, Callable[[], Card]]


@cache
def groups() -> tuple[Group, ...]:
    """Return all cards by kind."""
    known = set(BOTH_SIDES.clauses)
    of_orders = [clause for clause in RECEIVE_ORDERS.clauses if clause not in known]
    of_standby = [clause for clause in STANDBY.clauses if clause not in known]
    of_store = [rule for rule in STANDBY.rules if rule.id not in {each.id for each in BOTH_SIDES.rules}]
    initial = partial(clause_card, kind="initial states")
    ends = partial(clause_card, kind="end: nothing is left to do")
    books = (receiver.progress, both_sides.progress)
    return (
        _group("Questions", question_card, QUESTIONS),
        _group("Rules", rule_card, (*BOTH_SIDES.rules, *of_store)),
        _group("Clauses", clause_card, (*BOTH_SIDES.clauses, *of_orders, *of_standby)),
        _group("Initial states", initial, [BOTH_SIDES.initial]),
        _group("Ends", ends, waits.end_states),
        _group("Claims about every step", claim_card, (*steps.claims, *steps_of_both.claims)),
        _group("Measures of progress", measure_card, (each for book in books for each in book.measures)),
        _group("Chains of measures", chain_card, (each for book in books for each in book.chains)),
        Group("Waits", {each.state.id: partial(wait_card, each) for each in waits.waits.waits}),
        Group("Records", {each.name: partial(table_card, each) for each in ALL_TABLES}),
        _group("Checks", check_card, CHECKS.values()),
        Group("Reasons", {each.value: partial(reason_card, each) for each in Reason}),
        _group("Deviations", deviation_card, DEVIATIONS),
        Group("Known mistakes", {each.name: partial(control_card, each) for each in (*WRONG, *HARMLESS)}),
        _group("Faults of receivers", fault_card, FAULTS),
        _group("Assumptions", assumption_card, ASSUMPTIONS),
    )


def _group(title: str, card: Callable[[Any], Card], texts: Iterable[Any]) -> Group:
    return Group(title, {text.id: partial(card, text) for text in texts})


@cache
def makers() -> Mapping[str, Callable[[], Card]]:
    """Return for each id what makes its card; ids are unique over all kinds."""
    return {identifier: make for group in groups() for identifier, make in group.cards.items()}
