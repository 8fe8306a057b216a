"""The suite shows what it is for: faults of receivers, wrong texts of the specification, and faults of its own judge."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from colofd.conformance import mutants_command
from colofd.conformance.check import PROFILES
from colofd.conformance.further_cases import FURTHER, check_further
from colofd.conformance.mutants_command import mutants
from colofd.conformance.mutants_faults import Edit, Fault
from colofd.conformance.mutants_history import PAST
from colofd.conformance.mutants_known import FAULTS
from colofd.conformance.mutants_live import live_cases
from colofd.conformance.mutants_matrix import CONTROL, Matrix, Row, known_ids, minimal_suite, only_killers
from colofd.conformance.mutants_of_spec import Trial, spec_mutants
from colofd.conformance.mutants_runs import RUNS, Case
from colofd.conformance.mutants_tree import DoesNotFit, environment_of, mutated_tree, run_live, source_of
from colofd.conformance.rulings import Outcome
from colofd.conformance.schedules import VARIANTS
from colofd.model.solver import SolverName, solver
from colofd.model.spec_mutants_reachable import Reachable
from colofd.spec.profiles import STRICT
from colofd.spec.protocol import SPEC
from tests.conformance.wrong_judges import WRONG_JUDGES, WrongJudge

ROOT: Final = Path(__file__).parents[2]
RUN: Final = Path(__file__).with_name("mutant_run.py")
MATRIX: Final = ROOT / "docs" / "mutants.json"
SECONDS: Final = 180
"""Nothing here takes nearly as long; the schedules have bounds of their own."""

DIRECTED_AND_SHAPES: Final = 60
EVERY: Final = 6
"""A slice of the faults is put to their first killers: every so many. `colofd mutants` puts all of them to all cases."""


def run(arguments: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with `path` before everything else."""
    command = [sys.executable, *arguments]
    environment = environment_of(path, ROOT)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603  # our own Python


def campaign(tree: Path, edits: tuple[Edit, ...], against: str = STRICT) -> dict[str, Any]:
    """Run the schedules on a tree; return what was found, after a look at where it was imported from."""
    files = sorted({edit.file for edit in edits})
    modules = [f"colofd.{file.removesuffix('.py').replace('/', '.')}" for file in files]
    finished = run([str(RUN), against, *modules], tree)
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    assert found["files"] == [str(tree / "colofd" / file) for file in files], "another file than the changed one was imported"
    return found


# Faults of receivers.


@cache
def killers() -> dict[str, list[str]]:
    """Return the cases that show each fault, as published."""
    published = json.loads(MATRIX.read_text(encoding="utf-8"))
    return {fault["id"]: [published["cases"][number] for number in fault["killed_by"]] for fault in published["faults"]}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_still_fits_the_source(fault: Fault) -> None:
    """Given a fault, then each text that it replaces occurs exactly once, something shows it, and it is a mistake of the past."""
    for edit in fault.edits:
        assert source_of(edit.file).read_text().count(edit.old) == 1, f"{edit.file} has changed: {edit.old!r}"
    assert killers()[fault.id], "nothing shows it: see `colofd mutants --only`"
    assert any(fault.id in past.faults for past in PAST)


def test_the_published_matrix_is_of_all_faults() -> None:
    """Given docs/mutants.json, then it has every fault and every mutant of the specification, in their order."""
    assert list(killers()) == known_ids(), "write it again: colofd mutants --page docs/mutants.md"


def test_every_mistake_of_the_past_has_a_fault_or_a_reason() -> None:
    """Given the mistakes of the past, then each names faults that there are, or says why a receiver cannot have it; never both."""
    known = {fault.id for fault in FAULTS}
    for past in PAST:
        assert bool(past.faults) is not bool(past.why_not), past.id
        assert set(past.faults) <= known, past.id
    assert len({past.id for past in PAST}) == len(PAST)


@pytest.mark.parametrize("fault", FAULTS[::EVERY], ids=lambda fault: fault.id)
def test_its_first_killer_shows_a_fault(fault: Fault, tmp_path: Path) -> None:
    """Given a fault, when the case runs that shows it first, then its violation names the rule that the fault is known by."""
    (first, *_) = killers()[fault.id]
    found = run_live(mutated_tree(tmp_path, fault.edits), fault, [first], SECONDS)
    assert [(killed.case, killed.rule) for killed in found.killed] == [(first, fault.rule)], found


def test_without_a_fault_no_case_shows_anything(tmp_path: Path) -> None:
    """Given a source that was written anew with what it held (the control), when those cases run, then none shows anything."""
    cases = list(dict.fromkeys(killers()[fault.id][0] for fault in FAULTS[::EVERY]))
    found = run_live(mutated_tree(tmp_path, CONTROL.edits), CONTROL, cases, SECONDS)
    assert (found.killed, found.run, found.left) == ((), tuple(cases), ())


def test_a_fault_that_does_not_fit_is_said_so(tmp_path: Path) -> None:
    """Given an edit of what is not there, or one that cannot be imported, then it is no fault that a case shows, but DoesNotFit."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    with pytest.raises(DoesNotFit, match="occurs 0 times"):
        mutated_tree(tmp_path / "one", (Edit("impl/channel.py", "what is not there", ""),))
    broken = Fault("broken", "cannot be imported", (Edit("impl/channel.py", "import numpy as np\n", "import numpy as\n"),))
    with pytest.raises(DoesNotFit, match="what was imported"):
        run_live(mutated_tree(tmp_path / "two", broken.edits), broken, list(live_cases())[:1], SECONDS)


def test_a_quick_check_runs_what_shows_the_faults() -> None:
    """Given the cases of which a fault needs one, then `colofd check impl --profile quick` has all set-ups, and the further cases hold."""
    assert PROFILES["quick"].variants == len(VARIANTS)
    assert {case for fault in FAULTS for case in killers()[fault.id]} <= live_cases().keys()
    assert {name: ruling.outcome for name, ruling in check_further().items()} == dict.fromkeys(FURTHER, Outcome.HOLDS)


# Mutants of the specification.


@cache
def brief() -> list[Case]:
    """Return the shortest runs, and the smallest tour."""
    return [*RUNS["shortest runs"](), *RUNS["two pages"]()]


def test_runs_tell_wrong_texts_from_the_right_one() -> None:
    """Given some mutants and a few short runs, then what shows is what the published matrix has of these runs."""
    trials = {case.name: Trial(case) for case in brief()}
    some = [*range(0, len(spec_mutants()), 20), *(number for number, each in enumerate(spec_mutants()) if each.rule.id == "colo.start")]
    for number in some:
        mutant = spec_mutants()[number]
        found = [name for name, trial in trials.items() if trial.killed_by(mutant)]
        assert sorted(found) == sorted(name for name in killers()[mutant.name] if name in trials), mutant.name


def test_the_right_text_is_not_told_from_itself() -> None:
    """Given mutants whose changed rule is the original (the control), then no run shows anything."""
    of_base = {rule.id: rule for rule in SPEC.rules}
    for mutant in spec_mutants()[::40]:
        same = replace(mutant, rule=mutant.original, base=of_base.get(mutant.rule.id))
        assert [Trial(case).killed_by(same) for case in brief()] == [""] * len(brief())


def test_what_nothing_shows_is_proved_to_change_nothing() -> None:
    """Given the lemmas, then they are proved, they make the last mutants equivalent, and not one that is shown."""
    reachable = Reachable([solver(name) for name in SolverName])
    by_name = {mutant.name: mutant for mutant in spec_mutants()}
    last = by_name["checkpoint.flush-page: guard with IDLE too in phase = FILLING ∨ phase = FLUSHING"]
    shown = by_name["checkpoint.flush-page: guard with STOPPED too in phase = FILLING ∨ phase = FLUSHING"]
    assert reachable.is_equivalent(last)
    assert not killers()[last.name]
    assert not reachable.is_equivalent(shown)
    assert killers()[shown.name]


# The matrix and the command.


def row(identifier: str, *killed_by: str, equivalent: str = "") -> Row:
    return Row(identifier, "somewhere", "is wrong", list(killed_by), "progress", "it hangs", 0.5, equivalent)


ROWS: Final = [row("one", "a", "b"), row("two", "b", "c"), row("three", "d"), row("four", equivalent="proved")]


def test_a_minimal_suite_shows_all_that_any_case_shows() -> None:
    """Given faults and their killers, then the only killers are in the suite, and as few others as show the rest."""
    assert only_killers(ROWS) == {"d": ["three"]}
    assert minimal_suite(ROWS, ["a", "b", "c", "d"]) == ["d", "b"]
    assert minimal_suite(ROWS[:1], ["a", "b"]) == ["a"]


@pytest.mark.parametrize(("rows", "code", "survived"), [(ROWS, 0, 0), ([*ROWS, row("five")], 1, 1)])
def test_the_command_counts_and_ends_as_it_should(rows: list[Row], code: int, survived: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a matrix, then --json has the agreed members, and the exit code says whether a fault has survived."""
    monkeypatch.setattr(mutants_command, "matrix", lambda _wanted, _progress: Matrix(rows, ["a", "b", "c", "d"], 1.0))
    result = CliRunner().invoke(mutants, ["--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == code
    counts = {name: found[name] for name in ("total", "killed", "equivalent", "survived")}
    assert counts == {"total": len(rows), "killed": 3, "equivalent": 1, "survived": survived}
    assert {"id", "source", "killed_by", "seconds"} <= found["faults"][0].keys()
    text = CliRunner().invoke(mutants, []).stdout
    assert ("SURVIVED" in text) is bool(survived)


def test_a_fault_that_is_not_there_is_said_so() -> None:
    """Given an id that nothing has, then it cannot be run: exit code 2, with the nearest ids."""
    result = CliRunner().invoke(mutants, ["--only", "latch.decided"])
    assert result.exit_code == 2
    assert "latch.decided-again" in result.stderr


# The judge.


@pytest.mark.parametrize("judge", WRONG_JUDGES, ids=lambda judge: judge.name)
def test_a_wrong_judge_still_fits_the_source(judge: WrongJudge) -> None:
    """Given a fault of the model or the comparison, then the text that it replaces occurs exactly once, and something notices it."""
    assert (ROOT / judge.edit.file).read_text().count(judge.edit.old) == 1, f"{judge.edit.file} has changed: {judge.edit.old!r}"
    assert bool(judge.rule) is not bool(judge.test)


def test_without_a_change_the_schedules_find_nothing(tmp_path: Path) -> None:
    """Given a tree in which one file was written anew with what it held (the control), then the schedules find nothing."""
    same = (Edit("impl/channel.py", "", ""),)
    found = campaign(mutated_tree(tmp_path, same), same)
    assert (found["violations"], found["errors"]) == ({}, [])
    assert found["schedules"] >= DIRECTED_AND_SHAPES


@pytest.mark.parametrize("judge", [judge for judge in WRONG_JUDGES if judge.rule], ids=lambda judge: judge.name)
def test_the_schedules_notice_a_wrong_judge(judge: WrongJudge, tmp_path: Path) -> None:
    """Given a wrong judge, when the directed schedules run, then the first violation names the rule that it has wrong."""
    found = campaign(mutated_tree(tmp_path, (judge.edit,)), (judge.edit,))
    assert list(found["violations"]) == [judge.rule], found


@pytest.mark.parametrize("judge", [judge for judge in WRONG_JUDGES if judge.test], ids=lambda judge: judge.name)
def test_a_test_notices_a_wrong_judge(judge: WrongJudge, tmp_path: Path) -> None:
    """Given a judge that only a wrong receiver shows to be wrong, when the test that gives one runs, then that test fails."""
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", judge.test]
    with_change = run(arguments, mutated_tree(tmp_path, (judge.edit,)))
    assert with_change.returncode == 1, with_change.stdout
    assert "FAILED" in with_change.stdout
