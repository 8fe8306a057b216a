"""Negative controls of the proof: each known mistake makes exactly these obligations fail, with both solvers."""

import pytest

from colofd.model.controls import HARMLESS, WRONG, Control
from colofd.model.controls_runs import EXPECTED
from colofd.model.proof import verdicts
from colofd.model.proof_obligations import Answer, Kind, obligations
from colofd.model.solver import SolverName, solver
from colofd.spec.protocol import SPEC


def failing(control: Control) -> set[str]:
    """Return the obligations of the changed rules (the others are the same as ever) that both solvers refute, after checking they agree."""
    spec = control.changed_spec
    asked = [each for each in obligations(spec) if each.kind is not Kind.INITIATION or control.initial is not SPEC.initial]
    found = [verdict for verdict in verdicts(spec, asked, [solver(name) for name in SolverName]) if not verdict.is_proved]
    assert {
        verdict.obligation.name: set(verdict.answers.values()) for verdict in found if set(verdict.answers.values()) != {Answer.SOME}
    } == {}
    return {verdict.obligation.name for verdict in found}


@pytest.mark.parametrize("control", WRONG, ids=lambda control: control.name)
def test_a_known_mistake_is_not_proved(control: Control) -> None:
    """Given a specification with a known mistake, then exactly the obligations that tell of it are refuted."""
    assert failing(control) == set(EXPECTED[control.name].must_fail)


@pytest.mark.parametrize("control", HARMLESS, ids=lambda control: control.name)
def test_a_harmless_change_is_proved(control: Control) -> None:
    """Given a specification with a change that only looks like a mistake, then it is proved."""
    assert failing(control) == set()


def test_the_initial_buffer_matters_only_to_elision() -> None:
    """Given a buffer of anything, then one clause fails at first; it is the one that only eliding a zero page needs."""
    (anything,) = (control for control in WRONG if control.initial is not SPEC.initial)
    (elide_never,) = (control for control in HARMLESS if control.name == "elision never")
    (clause,) = (clause for clause in SPEC.clauses if f"initially {clause.id}" in failing(anything))
    without = tuple(each for each in SPEC.clauses if each is not clause)
    spec = type(SPEC)(SPEC.state, anything.initial, elide_never.spec.rules, without)
    found = [verdict.obligation.name for verdict in verdicts(spec, obligations(spec), [solver(SolverName.Z3)]) if not verdict.is_proved]
    assert found == []


def test_every_control_keeps_the_ids() -> None:
    """Given all controls, then each whole specification has the rules of the original, with at most one text changed."""
    for control in (*WRONG, *HARMLESS):
        assert [rule.id for rule in control.spec.rules] == [rule.id for rule in SPEC.rules]
        changed = sum(new is not old for new, old in zip(control.spec.rules, SPEC.rules, strict=True))
        assert changed + (control.initial is not SPEC.initial) == 1
