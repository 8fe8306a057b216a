"""What each control breaks: pinned shortest runs, and the solver's counter-models taken as one step by another reading."""

import pytest

from colofd.model.controls import HARMLESS, WRONG, Control
from colofd.model.controls_runs import EXPECTED, Expected, run_to_what_breaks, wrong_controls
from colofd.model.finite import Instance, Sizes
from colofd.model.finite_models import counter_model
from colofd.model.finite_slices import slice_of
from colofd.model.finite_terms import evaluate
from colofd.model.proof_obligations import Kind, obligations
from colofd.model.search_runs import broken_promise, shortest_run
from colofd.spec.protocol import SPEC

LENGTHS = {
    "mirror decided again": 18,
    "late packet latched outside COLO": 18,
    "zero pages not recorded": 23,
    "elision always": 15,
    "elision on a later arrival": 15,
    "flush without own dirty log": 15,
    "commit while dirty": 15,
    "flush after failover": 17,
    "take-over in a flush": 16,
    "cache released under threads": 6,
    "receivedmap released under threads": 6,
    "no barrier before COLO": 3,
    "no barrier before received": 16,
    "page sent twice in a round": 12,
    "initial buffer of anything": 6,
}
PROMISES = (Kind.ISOLATION, Kind.OWNERSHIP, Kind.COMMIT)


def id_of(given: object) -> str:
    return given.name if isinstance(given, Control) else ""


def test_every_control_says_what_it_breaks() -> None:
    """Given all wrong controls, then each has an expectation, and the two about the latch come first."""
    assert [control.name for control in WRONG] == list(EXPECTED) == list(LENGTHS)
    assert ["latch" in name or "mirror" in name for name in list(EXPECTED)[:3]] == [True, True, False]


@pytest.mark.parametrize("control", WRONG, ids=id_of)
def test_a_real_run_breaks_what_it_should(control: Control) -> None:
    """Given a wrong control, then a shortest run from an initial state breaks what it should, after this many steps."""
    run = run_to_what_breaks(control)
    assert run is not None
    assert len(run) == LENGTHS[control.name], run.names


def test_the_run_of_the_latch() -> None:
    """Given mirroring that is decided again, then a page of half a checkpoint is copied into the guest that has just taken over."""
    (control,) = (control for control in WRONG if control.name == "mirror decided again")
    run = run_to_what_breaks(control)
    assert run is not None
    names = [step.rule.id for step in run.steps]
    assert names[-4:] == ["failover.take-over", "receive.zero-page", "receive.payload-complete", "receive.mirror"]
    part = Instance(control.spec, slice_of("core"), Sizes(1, 1, 2))
    before, after = (part.described(state) for state in run.states[-2:])
    assert (before["phase"], before["mirror_1"]) == ("FAILOVER", "no")
    assert before["guest_0"] == before["survivor_0"] == after["survivor_0"] != after["guest_0"]


@pytest.mark.parametrize("kind", PROMISES)
@pytest.mark.parametrize("name", ["core", "whole"])
def test_the_specification_breaks_no_promise(name: str, kind: Kind) -> None:
    """Given the specification, then no run breaks what the proof promises of its steps."""
    part = Instance(SPEC, slice_of(name), Sizes(1, 1, 2))
    goals = broken_promise(part, kind)
    assert goals
    assert shortest_run(part, goals) is None


@pytest.mark.parametrize("control", HARMLESS, ids=id_of)
def test_a_harmless_change_breaks_no_promise(control: Control) -> None:
    """Given a change that only looks like a mistake, then no run breaks what the proof promises."""
    part = Instance(control.spec, slice_of("core"), Sizes(1, 1, 2))
    assert shortest_run(part, [goal for kind in PROMISES for goal in broken_promise(part, kind)]) is None


@pytest.mark.parametrize(("control", "expected"), wrong_controls(), ids=id_of)
def test_a_counter_model_is_one_wrong_step(control: Control, expected: Expected) -> None:
    """Given an obligation that fails, then from the solver's state, where all clauses hold, one step breaks what the obligation says."""
    by_name = {obligation.name: obligation for obligation in obligations(control.changed_spec)}
    for name in expected.must_fail:
        obligation = by_name[name]
        found = counter_model(control.spec, obligation)
        assert found is not None, name
        assert found.refutes(obligation), (name, found.instance.described(found.state))
        if obligation.kind is not Kind.INITIATION:
            assert found.step is not None
            broken = [identifier for identifier, term in found.instance.clauses.items() if not evaluate(term, found.state)]
            assert broken == []


def test_what_is_proved_has_no_counter_model() -> None:
    """Given an obligation that is proved, then there is no counter-model."""
    (proved,) = (each for each in obligations(SPEC) if each.name == "receive.mirror keeps isolation.guest")
    assert counter_model(SPEC, proved) is None
