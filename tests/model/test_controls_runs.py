"""What each control breaks: pinned shortest runs, and the solver's counter-models taken as one step by another reading."""

import pytest

from colofd.model.controls import HARMLESS, WRONG, control
from colofd.model.controls_declared import SMALLEST, Control
from colofd.model.controls_runs import asked_of, instance_of, run_of
from colofd.model.finite import Instance
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
    "nothing recorded": 23,
    "recorded always": 3,
    "elision always": 15,
    "elision on a later arrival": 15,
    "main channel elides": 5,
    "zero pages not noted as received": 6,
    "normal pages not noted as received": 6,
    "received only when complete": 4,
    "initial buffer of anything": 6,
    "zero pages not mirrored": 6,
    "page copied before it is complete": 4,
    "main channel mirrors no zero pages": 11,
    "main channel records nothing": 17,
    "flush without own dirty log": 15,
    "flush of a running guest": 13,
    "flush at the end of a section": 16,
    "flush of a run copies one page": 20,
    "commit while dirty": 15,
    "flush after failover": 17,
    "take-over in a flush": 16,
    "cache allocated late": 4,
    "receivedmap allocated late": 4,
    "cache released under threads": 6,
    "receivedmap released under threads": 6,
    "COLO without the capability": 10,
    "no barrier before COLO": 3,
    "no barrier before received": 16,
    "barrier that waits for nobody": 13,
    "pages of a SYNC packet dropped": 3,
    "page sent twice in a round": 12,
    "page of content sent as zero": 6,
    "take-over drops an answered checkpoint": 20,
    "answered without validating": 18,
    "flushed before the answer": 18,
    "output released when sent": 4,
    "primary resumed when released": 20,
    "device state taken from a running primary": 15,
    "commit without device state": 21,
    "checkpoint begun unasked": 12,
    "failover waits for the barrier": 15,
    "failover waits for the device state": 17,
}
PROMISES = (Kind.ISOLATION, Kind.OWNERSHIP, Kind.COMMIT)


def id_of(given: object) -> str:
    return given.name if isinstance(given, Control) else ""


def test_every_control_says_what_it_breaks() -> None:
    """Given all wrong controls, then each says where it comes from and what must fail; there are 20 and more, the latch first."""
    assert [each.name for each in WRONG] == list(LENGTHS)
    assert len(WRONG) >= 20
    assert all(each.doc and each.source and each.must_fail and each.is_wrong for each in WRONG)
    assert "latch" in WRONG[0].source


@pytest.mark.parametrize("wrong", WRONG, ids=id_of)
def test_a_real_run_breaks_what_it_should(wrong: Control) -> None:
    """Given a wrong control, then a shortest run from an initial state breaks what it should, after this many steps."""
    run = run_of(wrong)
    assert run is not None
    assert len(run) == LENGTHS[wrong.name], run.names


def test_the_run_of_the_latch() -> None:
    """Given mirroring that is decided again, then a page of half a checkpoint is copied into the guest that has just taken over."""
    wrong = control("mirror decided again")
    run = run_of(wrong)
    assert run is not None
    names = [step.rule.id for step in run.steps]
    assert names[-4:] == ["failover.take-over", "receive.zero-page", "receive.payload-complete", "receive.mirror"]
    assert wrong.shows is not None
    part = instance_of(wrong, wrong.shows)
    before, after = (part.described(state) for state in run.states[-2:])
    assert (before["phase"], before["mirror_1"]) == ("FAILOVER", "no")
    assert before["guest_0"] == before["survivor_0"] == after["survivor_0"] != after["guest_0"]


@pytest.mark.parametrize("kind", PROMISES)
@pytest.mark.parametrize("name", ["core", "whole"])
def test_the_specification_breaks_no_promise(name: str, kind: Kind) -> None:
    """Given the specification, then no run breaks what the proof promises of its steps."""
    part = Instance(SPEC, slice_of(name), SMALLEST)
    goals = broken_promise(part, kind)
    assert goals
    assert shortest_run(part, goals) is None


@pytest.mark.parametrize("harmless", HARMLESS, ids=id_of)
def test_a_harmless_change_breaks_no_promise(harmless: Control) -> None:
    """Given a change that only looks like a mistake, then no run breaks what the proof promises, and none is searched for it."""
    part = Instance(harmless.spec, slice_of("core"), SMALLEST)
    assert shortest_run(part, [goal for kind in PROMISES for goal in broken_promise(part, kind)]) is None
    assert run_of(harmless) is None


@pytest.mark.parametrize("wrong", WRONG, ids=id_of)
def test_a_counter_model_is_one_wrong_step(wrong: Control) -> None:
    """Given an obligation that fails, then in the solver's state, where all clauses hold, or by one step from it, it does not hold."""
    by_name = {obligation.name: obligation for obligation in asked_of(wrong)}
    for name in wrong.must_fail:
        obligation = by_name[name]
        found = counter_model(wrong.spec, obligation)
        assert found is not None, name
        assert found.refutes(obligation), (name, found.instance.described(found.state))
        if obligation.kind is not Kind.INITIATION:
            assert (found.step is None) is (obligation.kind is Kind.PROGRESS)
            broken = [identifier for identifier, term in found.instance.clauses.items() if not evaluate(term, found.state)]
            assert broken == []


def test_what_is_proved_has_no_counter_model() -> None:
    """Given an obligation that is proved, then there is no counter-model."""
    (proved,) = (each for each in obligations(SPEC) if each.name == "receive.mirror keeps isolation.guest")
    assert counter_model(SPEC, proved) is None
