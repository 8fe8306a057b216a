"""What is not proved is explained: the clause, a state and a step that break it, and a shortest run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from colofd.conformance.decisions_proof import obligations
from colofd.conformance.prove_failures import Explanation, explained, failure_json
from colofd.model.controls import control
from colofd.model.controls_runs import unproved
from colofd.model.proof import verdicts
from colofd.model.solver import SolverName, solver
from colofd.spec.protocol import SPEC

ROOT = Path(__file__).parents[2]


def explanation_of(name: str) -> Explanation:
    wrong = control(name)
    first, *_ = unproved(wrong, [solver(SolverName.Z3)])
    return explained(first, [wrong.spec] if wrong.base is SPEC else [SPEC, wrong.spec])


def test_the_latch_is_explained() -> None:
    """Given mirroring that is decided again, Then the clause is isolation, the step writes the guest, and the run ends with it."""
    why = explanation_of("mirror decided again")
    assert why.clause == why.breaks == "isolation.guest"
    assert any(each.startswith("phase = ") for each in why.state)
    assert re.match(r"receive\.mirror\(channel \d+, page \d+\): guest_", why.step)
    assert why.run_length == len(why.run) - 1
    assert "receive.mirror(" in why.run[-1]


def test_a_promise_of_steps_is_explained() -> None:
    """Given a guest that goes on before the flush is through, Then no clause fails, but what a commit promises, and a run shows it."""
    why = explanation_of("commit while dirty")
    assert (why.clause, why.breaks) == ("", "what is promised as commit")
    assert "checkpoint.commit" in why.run[-1]


def test_a_clause_of_both_sides_is_explained() -> None:
    """Given a take-over that drops what was answered, Then the clause is output.commit, and the run is one of both sides."""
    why = explanation_of("take-over drops an answered checkpoint")
    assert why.clause == why.breaks == "output.commit"
    assert why.searched.startswith("slice both-sides")
    assert why.run_length is not None


def test_initial_states_are_explained() -> None:
    """Given a buffer of anything, Then the run that breaks the clause has no step."""
    why = explanation_of("initial buffer of anything")
    assert (why.clause, why.run_length) == ("receive.untouched-buffer-zero", 0)
    assert "a shortest run that breaks receive.untouched-buffer-zero (0 steps" in "\n".join(why.lines)


def test_what_is_proved_has_nothing_to_explain() -> None:
    """Given an obligation that is proved, Then there is no explanation, and its JSON has nulls."""
    (asked,) = (each for each in obligations(SPEC) if each.name == "receive.mirror keeps isolation.guest")
    (verdict,) = verdicts(SPEC, [asked], [solver(SolverName.Z3)])
    assert explained(verdict, [SPEC]) == Explanation()
    assert failure_json(verdict, Explanation())["run_length"] is None


@pytest.mark.parametrize(
    ("file", "was", "becomes", "asked", "clause"),
    [
        (
            "rules/receive.py",
            "s.guest[page] = where(s.mirror[channel], content, s.guest[page])",
            "s.guest[page] = where(s.colo, content, s.guest[page])",
            "receive.mirror",
            "isolation.guest",
        ),
        (
            "both_sides.py",
            ", ~s.is_promised, s.is_loadable[s.arriving_device])",
            ", ~s.is_promised)",
            "checkpoint.answer",
            "output.promise",
        ),
    ],
    ids=["the latch is not asked", "a guard is dropped"],
)
def test_a_mutant_seeded_by_hand_is_explained(tmp_path: Path, file: str, was: str, becomes: str, asked: str, clause: str) -> None:
    """Given the spec's text changed by hand, When the command is run, Then it ends with 1, names the clause, and shows the run."""
    package = tmp_path / "colofd"
    shutil.copytree(ROOT / "spec", package / "spec")
    text = package / "spec" / file
    assert was in text.read_text()
    text.write_text(text.read_text().replace(was, becomes))
    command = [sys.executable, "-m", "colofd.conformance", "prove", "--only", f"{asked} keeps {clause}"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603  # our own command
    assert result.returncode == 1, result.stderr
    assert f"not proved: {asked} keeps {clause} (z3 says sat, cvc5 says sat; expected unsat)" in result.stdout
    assert f"breaks the clause {clause}" in result.stdout
    assert re.search(rf"a shortest run that breaks {clause} \(\d+ steps", result.stdout)
