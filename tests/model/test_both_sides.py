"""The controls of the protocol between primary and secondary are refuted; that it is proved, test_proof.py says."""

import pytest

from colofd.model.controls_both_sides import PROTOCOL_CONTROLS, ProtocolControl
from colofd.model.proof import structural_faults, verdicts
from colofd.model.proof_obligations import Kind, ghost_flows, obligations
from colofd.model.solver import SolverName, solver
from colofd.spec.both_sides import BOTH_SIDES

MUST_FAIL: dict[str, set[str]] = {
    "take-over drops an answered checkpoint": {"failover.take-over keeps output.commit", "failover.take-over keeps output.promise"},
    "answered without validating": {"checkpoint.answer keeps output.promise"},
    "flushed before the answer": {"checkpoint.flush-begin keeps output.promise"},
    "output released when sent": {
        "colo.release-output keeps colo.no-message-yet",
        "colo.release-output keeps colo.receiving",
        "colo.release-output keeps output.commit",
        "colo.release-output keeps output.received-message",
    },
    "primary resumed when released": {"colo.resume keeps colo.answers-read", "colo.resume keeps commit.device"},
    "device state taken from a running primary": {"checkpoint.received keeps colo.receiving", "checkpoint.received keeps commit.device"},
    "commit without device state": {"checkpoint.commit keeps isolation.device"},
    "checkpoint begun unasked": {
        "checkpoint.begin keeps colo.one-answer",
        "checkpoint.begin keeps colo.receiving",
        "checkpoint.begin keeps colo.requested",
        "checkpoint.begin keeps output.received-message",
    },
}


def _refuted(control: ProtocolControl) -> set[str]:
    asked = [each for each in obligations(control.changed_spec) if each.kind is Kind.CONSECUTION]
    return {verdict.obligation.name for verdict in verdicts(control.changed_spec, asked, [solver(SolverName.Z3)]) if not verdict.is_proved}


@pytest.mark.parametrize("control", PROTOCOL_CONTROLS, ids=lambda control: control.name)
def test_a_control_is_refuted_where_it_should_be(control: ProtocolControl) -> None:
    """Given a wrong rule, When its obligations are asked, Then exactly the named ones cannot be proved."""
    assert _refuted(control) == MUST_FAIL[control.name]


def test_ghosts_decide_nothing_and_sorts_have_no_cycle() -> None:
    """Given both sides, When the trees are looked at, Then no ghost flows into a cell, and the fragment is decidable."""
    assert structural_faults(BOTH_SIDES) == ()
    assert [ghost_flows(BOTH_SIDES, ghost) for ghost in ("survivor_device", "is_ahead")] == [(), ()]
