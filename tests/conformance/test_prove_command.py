"""`colofd prove`: what it prints, what it asks, and that it explains what is not proved."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result

from colofd.conformance import prove_command
from colofd.conformance.decisions_proof import obligations
from colofd.conformance.prove_command import prove
from colofd.conformance.prove_mutants import MutantResult
from colofd.conformance.prove_selection import selected
from colofd.model.proof_obligations import Answer, AnyObligation
from colofd.model.proof_obligations import obligations as obligations_of_spec
from colofd.model.solver import Solver, SolverName
from colofd.model.spec_mutants_proof import Outcome
from colofd.spec.assumptions import ASSUMPTIONS
from colofd.spec.protocol import SPEC

SOME = obligations_of_spec(SPEC)[::60]
"""A few obligations, for tests that need not prove everything."""


def run(monkeypatch: pytest.MonkeyPatch, asked: Sequence[AnyObligation], *options: str) -> Result:
    """Run `colofd prove` on these obligations only."""
    monkeypatch.setattr(prove_command, "obligations", lambda _spec: tuple(asked))
    return CliRunner().invoke(prove, options)


def report_of(result: Result) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def answering(name: SolverName, answer: Answer) -> Solver:
    return Solver(name, "0", lambda: lambda _text: answer)


def test_the_json_has_what_was_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given some obligations, When both solvers are asked, Then the JSON has the agreed keys; what was not asked for is null."""
    report = report_of(run(monkeypatch, SOME, "--json"))
    assert report["obligations"] == len(SOME)
    unsat = sum(each.expected is Answer.NONE for each in SOME)
    for name in ("z3", "cvc5"):
        said = report["solvers"][name]
        assert (said["unsat"], said["sat"], said["unknown"]) == (unsat, len(SOME) - unsat, 0)
        assert said["seconds"] > 0
    assert {"sorts have no cycle", "ghosts decide nothing", "every text has id and source"} <= set(report["gates"])
    assert all(report["gates"].values())
    assert [each["id"] for each in report["assumptions"]] == [each.id for each in ASSUMPTIONS]
    assert (report["controls"], report["mutants"], report["unproved"]) == (None, None, [])


def test_the_text_says_what_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given some obligations, When Z3 is asked, Then the text counts kinds, names the slowest, and the exit code is 0."""
    result = run(monkeypatch, SOME, "--solver", "z3")
    assert result.exit_code == 0
    assert f"all {len(SOME)} obligations are proved" in result.stdout
    count = sum(each.kind == "consecution" for each in SOME)
    assert f"consecution   {count} of {count} proved" in result.stdout
    assert "slowest: " in result.stdout


def test_what_is_not_proved_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: Given solvers that answer "sat" to everything, Then the exit code is 1 and what is not proved is named with the answers."""
    monkeypatch.setattr(prove_command, "solver", lambda name: answering(name, Answer.SOME))
    result = run(monkeypatch, SOME)
    assert result.exit_code == 1
    assert f"not proved: {SOME[0].name} (z3 says sat, cvc5 says sat; expected unsat)" in result.stdout
    assert "NOT PROVED" in result.stdout


def test_a_gate_that_is_not_passed_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: Given a gate with a fault, Then the exit code is 1 although everything is proved, and gate and fault are named."""
    monkeypatch.setattr(prove_command, "gates", lambda *_: {"ghosts decide nothing": ("the ghost decides in x",)})
    result = run(monkeypatch, SOME, "--solver", "z3", "--json")
    assert result.exit_code == 1
    assert report_of(result)["gates"] == {"ghosts decide nothing": False}
    assert report_of(result)["gate_faults"] == ["the ghost decides in x"]


def test_mutants_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a mutant that survives, When mutants are asked about, Then it is counted and named, and the exit code is 1; without it, 0."""
    noticed = MutantResult("barrier.park", "a guard dropped", Outcome.BY_PROOF, "barrier.park keeps x")
    survivor = MutantResult("barrier.release", "an update dropped", Outcome.SURVIVED, "")
    monkeypatch.setattr(prove_command, "mutant_results", lambda _names: iter([noticed, survivor]))
    result = run(monkeypatch, SOME, "--solver", "z3", "--mutants", "--json")
    assert result.exit_code == 1
    counts = report_of(result)["mutants"]
    assert (counts["total"], counts["by_proof"], counts["survived"]) == (2, 1, 1)
    assert counts["not_noticed"] == ["barrier.release: an update dropped"]
    monkeypatch.setattr(prove_command, "mutant_results", lambda _names: iter([noticed]))
    assert run(monkeypatch, SOME, "--solver", "z3", "--mutants").exit_code == 0


def test_a_missing_solver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given that cvc5 is not installed, Then the exit code is 2, and the message says what to do."""
    monkeypatch.setitem(sys.modules, "cvc5", None)
    result = run(monkeypatch, SOME)
    assert result.exit_code == 2
    assert "the solver cvc5 is not installed" in result.stderr
    assert "hint: `--solver z3`" in result.stderr


def names(*wanted: str) -> list[str]:
    options = [option for value in wanted for option in ("--only", value)]
    result = CliRunner().invoke(prove, ["--solver", "z3", *options, "--json"])
    assert result.exit_code == 0, result.output
    report = report_of(result)
    assert report["only"] == list(wanted)
    return [f"{kind} {count['all']}" for kind, count in report["counts"].items()]


def test_only_takes_names_and_ids() -> None:
    """Given an obligation's name with a comma in it, an id, and two values, Then these and no others are asked."""
    assert names("receive.mirror owns cache, touch 1") == ["ownership 1"]
    assert names("initially receive.latched,initially phase.setup") == ["initiation 2"]
    latch = sum("receive.latched" in each.name.split() for each in obligations(SPEC))
    assert sum(int(count.split()[-1]) for count in names("receive.latched")) >= latch


def test_only_takes_the_first_words_of_ids() -> None:
    """Given the first word of ids, Then the obligations of all of them are asked, and of no id that merely begins alike."""
    wanted = selected(obligations(SPEC), ["own"])
    assert {"own.release-cache is possible", "initially own.cache-lifetime"} <= {each.name for each in wanted}
    assert not [each.name for each in wanted if "own." not in each.name]


def test_an_unknown_name_lists_the_nearest() -> None:
    """Given an id that does not exist, Then the exit code is 2 and the nearest ones are named."""
    result = CliRunner().invoke(prove, ["--only", "receive.miror"])
    assert result.exit_code == 2
    assert "did you mean 'receive.mirror'" in result.stderr


def test_proofs_need_a_folder() -> None:
    """Given --proofs without --export, Then the exit code is 2, and the message names what is missing."""
    result = CliRunner().invoke(prove, ["--proofs"])
    assert result.exit_code == 2
    assert "--proofs needs --export DIR" in result.stderr


def test_the_command_line_says_what_it_does() -> None:
    """Given --help in a process of its own, Then options and exit codes are explained."""
    command = [sys.executable, "-m", "colofd.conformance", "prove", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603  # our own command
    assert all(word in said for word in ("--only", "--controls", "--mutants", "--export", "--proofs", "Exit codes"))
