"""The store of a standby: that its clauses are proved, test_proved_page.py says; here, that they notice when a step is wrong."""

import dataclasses

import pytest

from colofd.model.proof import verdicts
from colofd.model.proof_standby import standby_obligations
from colofd.model.solver import SolverName, solver
from colofd.spec.constants import Step
from colofd.spec.language import Expr, Spec
from colofd.spec.standby import STANDBY, RecordAt, Standby

_S = Standby(is_read_only=True)


def changed(rule: str, *guards: Expr[bool]) -> Spec:
    """Return the standby with other guards of one rule."""
    rules = tuple(dataclasses.replace(each, guards=guards) if each.id == rule else each for each in STANDBY.rules)
    return Spec(STANDBY.state, STANDBY.initial, rules, STANDBY.clauses)


def refuted(spec: Spec, rule: str) -> set[str]:
    """Return the clauses that a rule does not keep any more."""
    asked = [each for each in standby_obligations(spec) if each.name.startswith(f"{rule} keeps ")]
    return {each.obligation.name.partition(" keeps ")[2] for each in verdicts(spec, asked, [solver(SolverName.Z3)]) if not each.is_proved}


def without(rule: str, number: int) -> Spec:
    """Return the standby with one guard of a rule left out."""
    guards = STANDBY.rule(rule).guards
    assert 0 <= number < len(guards)
    return changed(rule, *guards[:number], *guards[number + 1 :])


def last_guard(rule: str) -> int:
    return len(STANDBY.rule(rule).guards) - 1


@pytest.mark.parametrize(
    ("rule", "wrong", "clauses"),
    [
        (Step.ANSWER, without(Step.ANSWER, last_guard(Step.ANSWER)), {"standby.at-hand", "standby.output"}),
        (
            "store.name-record",
            changed("store.name-record", _S.newest_at.within(RecordAt.WRITING, RecordAt.SYNCED)),
            {"standby.next-checkpoint"},
        ),
        ("store.sync-name", changed("store.sync-name", _S.newest_at == RecordAt.SYNCED), set()),
        ("store.sync-record", without("store.sync-record", last_guard("store.sync-record")), {"standby.next-checkpoint"}),
        ("store.begin-record", without("store.begin-record", last_guard("store.begin-record")), {"standby.last-checkpoint"}),
        ("store.sync-image", without("store.sync-image", 1), {"standby.merged"}),
        ("store.remove-record", without("store.remove-record", 0), {"standby.removed"}),
        ("store.sync-removal", changed("store.sync-removal", _S.newest_at == RecordAt.DURABLE), {"standby.last-checkpoint"}),
    ],
    ids=[
        "answered before it is durable",
        "named before it is synced",
        "harmless: a name that is durable at once",
        "a page is left out",
        "the newest record is written over",
        "synced before all is merged",
        "removed before it is merged",
        "removed before anything else",
    ],
)
def test_a_wrong_step_is_noticed(rule: str, wrong: Spec, clauses: set[str]) -> None:
    """Given the store with one wrong step, then the clauses that it breaks are not proved; a harmless change breaks none."""
    assert clauses <= (found := refuted(wrong, rule)), found
    assert bool(clauses) == bool(found)
