"""The controls as `colofd prove --controls` shows them."""

from dataclasses import replace

import pytest

from colofd.conformance.prove_controls import ControlResult, control_results, controls_json, controls_text
from colofd.model.controls import WRONG
from colofd.model.solver import SolverName, solver


@pytest.fixture(scope="module")
def results() -> list[ControlResult]:
    return list(control_results([solver(SolverName.Z3)]))


def test_every_known_mistake_is_noticed(results: list[ControlResult]) -> None:
    """Given the wrong controls, then each makes its obligations fail and has a run with a picture; the latch is shown first."""
    assert [result.name for result in results if not result.is_noticed] == []
    said = controls_json(results)
    assert [(each["name"], each["run_length"]) for each in said[:2]] == [
        ("mirror decided again", 18),
        ("late packet latched outside COLO", 18),
    ]
    assert all(set(each["must_fail"]) <= set(each["failed"]) for each in said)
    assert all(len(each["picture"]) == each["run_length"] + 2 for each in said)
    assert controls_text(results)[0] == f"{len(WRONG)} of {len(WRONG)} known mistakes are noticed"


def test_a_mistake_that_goes_unnoticed_is_said(results: list[ControlResult]) -> None:
    """Given a result without a failed obligation, or without a run, then it is not noticed, and the text says what is missing."""
    proved, unreached = replace(results[0], failed=()), replace(results[0], run=None)
    assert not proved.is_noticed
    assert not unreached.is_noticed
    assert "    DOES NOT FAIL: receive.mirror keeps isolation.guest" in controls_text([proved])
    assert any("NO RUN SHOWS IT" in line for line in controls_text([unreached]))
