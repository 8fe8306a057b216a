"""Negative controls of the proof: each known mistake makes what tells of it fail, with both solvers."""

from dataclasses import replace

import pytest

from colofd.model.controls import HARMLESS, WRONG, control
from colofd.model.controls_declared import Control, Shows, of_both_sides, of_receive_path
from colofd.model.controls_runs import asked_of, unproved
from colofd.model.proof import verdicts
from colofd.model.proof_obligations import Answer, obligations
from colofd.model.solver import SolverName, solver
from colofd.spec.both_sides import BothSides
from colofd.spec.constants import Step
from colofd.spec.language import SpecError
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.state import Phase, World


def failing(change: Control) -> set[str]:
    """Return the obligations of the changed rules (the others are the same as ever) that both solvers refute, after checking they agree."""
    found = unproved(change, [solver(name) for name in SolverName])
    assert {
        verdict.obligation.name: set(verdict.answers.values()) for verdict in found if set(verdict.answers.values()) != {Answer.SOME}
    } == {}
    return {verdict.obligation.name for verdict in found}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_known_mistake_is_not_proved(wrong: Control) -> None:
    """Given a specification with a known mistake, then the obligations that tell of it are refuted."""
    assert set(wrong.must_fail) <= failing(wrong)


@pytest.mark.parametrize("harmless", HARMLESS, ids=lambda harmless: harmless.name)
def test_a_harmless_change_is_proved(harmless: Control) -> None:
    """Given a specification with a change that only looks like a mistake, then it is proved."""
    assert failing(harmless) == set()


def test_the_initial_buffer_matters_only_to_elision() -> None:
    """Given a buffer of anything, then one clause fails at first; it is the one that only eliding a zero page needs."""
    anything, elide_never = control("initial buffer of anything"), control("elision never")
    (clause,) = (clause for clause in SPEC.clauses if f"initially {clause.id}" in failing(anything))
    without = tuple(each for each in SPEC.clauses if each is not clause)
    spec = type(SPEC)(SPEC.state, anything.initial, elide_never.spec.rules, without)
    found = [verdict.obligation.name for verdict in verdicts(spec, obligations(spec), [solver(SolverName.Z3)]) if not verdict.is_proved]
    assert found == []


def test_a_harmless_change_may_need_a_clause_more() -> None:
    """Given a change that a further clause supports, then without that clause it is not proved: the clause is asked for, and used."""
    (supported,) = (each for each in HARMLESS if each.supporting)
    assert {"initially receive.all-arrived", "phase.enter-colo keeps receive.all-arrived"} <= {each.name for each in asked_of(supported)}
    assert "main.read-page keeps receive.landed-where" in failing(replace(supported, supporting=()))


def test_every_control_keeps_the_ids() -> None:
    """Given all controls, then each whole specification has the rules of the original, with its own texts changed, and names are unique."""
    assert len({change.name for change in (*WRONG, *HARMLESS)}) == len(WRONG) + len(HARMLESS)
    for change in (*WRONG, *HARMLESS):
        assert change.base in (SPEC, BOTH_SIDES)
        assert [rule.id for rule in change.spec.rules] == [rule.id for rule in change.base.rules]
        changed = sum(new is not old for new, old in zip(change.spec.rules, change.base.rules, strict=True))
        assert changed == len(change.rules) == len({rule.id for rule in change.rules})
        assert changed or change.initial is not change.base.initial


def _commit_early(s: World) -> None:
    """Commits whenever it likes."""
    s.phase = Phase.IDLE


def _commit_quietly(s: BothSides) -> None:
    """Tells nobody."""
    s.has_committed = True


def test_a_declaration_is_all_that_a_new_control_needs() -> None:
    """Given a new wrong text, when it is declared, then the proof fails where the declaration says, for rules of either kind."""
    receive, both = of_receive_path(), of_both_sides()
    shows = Shows("isolation.guest")
    receive.wrong("commit at any time", Step.COMMIT, must_fail=("checkpoint.commit keeps isolation.guest",), shows=shows, source="a test")(
        _commit_early
    )
    both.wrong("commit in silence", Step.COMMIT, must_fail=("checkpoint.commit keeps isolation.device",), shows=shows, source="a test")(
        _commit_quietly
    )
    for declared in (*receive, *both):
        assert set(declared.must_fail) <= failing(declared)
        assert declared.doc


def test_a_declaration_that_names_nothing_is_refused() -> None:
    """Control: given a text for no rule, in no slice, or that writes a cell of the base from the layer, then it cannot be declared."""
    with pytest.raises(KeyError, match=r"no\.rule"):
        of_receive_path().harmless("a", "no.rule", source="a test")(_commit_early)
    with pytest.raises(KeyError, match="no slice"):
        of_receive_path().wrong("a", Step.COMMIT, must_fail=(), shows=Shows("isolation.guest", "no slice"), source="a test")(_commit_early)
    with pytest.raises(SpecError, match="a layer may not write phase"):
        of_both_sides().harmless("a", Step.COMMIT, source="a test")(_commit_early)
