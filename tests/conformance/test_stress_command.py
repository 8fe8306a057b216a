"""`colofd stress`: what it prints, and how it ends."""

import json

import pytest
from click.testing import CliRunner

from colofd.conformance import fuzz_jobs, stress_command
from colofd.conformance.fault_kinds import Fault, Kind
from colofd.conformance.fault_sweeps import SWEPT
from colofd.conformance.fuzz_search import Search, State
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.scenes import SCENES
from colofd.conformance.stress_command import KINDS, StressReport, stress, stress_preemptions
from colofd.conformance.violation import Violation
from colofd.spec.constants import MAIN_CHANNEL


def test_a_little_of_everything_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the built-in receiver, when every kind runs a little, then each one is named in JSON with its numbers, and all hold."""
    monkeypatch.setattr(stress_command, "SWEPT", SWEPT[:1])
    monkeypatch.setattr(stress_command, "moments", lambda: [Fault(Kind.KILL, MAIN_CHANNEL)])
    monkeypatch.setattr(stress_command, "cut_everywhere", lambda _number, _reached: [])
    finished = CliRunner().invoke(stress, ["--preemptions", "0", "--faults", "5", "--inputs", "20", "--parsers", "30", "--json"])
    assert finished.exit_code == 0, finished.output
    rulings = json.loads(finished.output)["rulings"]
    assert tuple(rulings) == KINDS
    assert rulings["preemptions"]["evidence"]["interleavings"] == 176
    assert "barrier.release" in rulings["moments"]["evidence"]["reached"]
    assert rulings["faults"]["evidence"]["schedules"] == 5
    assert rulings["parsers"]["evidence"]["states"] == len(rulings["parsers"]["evidence"]["reached"])


def test_one_kind_is_printed_in_a_line() -> None:
    """Given one kind that is asked for, then only that is run, and a line says what was done."""
    finished = CliRunner().invoke(stress, ["--only", "inputs", "--inputs", "10"])
    assert finished.exit_code == 0
    assert finished.output.startswith("inputs       holds     10 inputs, ")
    assert len(finished.output.splitlines()) == 1


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.HOLDS, 0), (Outcome.VIOLATED, 1), (Outcome.ERRORED, 2)])
def test_the_worst_ruling_is_the_exit_code(outcome: Outcome, code: int) -> None:
    """Given rulings, then a violation ends with 1, and what could not be told with 2."""
    assert StressReport(1, {"guard": Ruling(outcome, ""), "faults": Ruling(Outcome.HOLDS, "")}).exit_code == code


def test_what_is_found_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given faults and inputs that find something, then both are violated, and the findings are printed."""
    monkeypatch.setattr(stress_command, "run_fault", lambda _number, _reached: ["RAM is wrong"])
    monkeypatch.setattr(stress_command, "run_damaged", lambda _count, _seed, _tally, found: found("another verdict", b"\x01"))
    finished = CliRunner().invoke(stress, ["--only", "faults", "--only", "inputs", "--faults", "1"])
    assert finished.exit_code == 1
    assert finished.output.splitlines() == [
        "faults       violated  fault 1: RAM is wrong",
        "    fault 1: RAM is wrong",
        "inputs       violated  another verdict: 01",
        "    another verdict: 01",
    ]


def test_memory_that_grows_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a search during which more memory is held than may be, then that is violated; states are said in JSON only."""

    class Growing(Search):
        def run(self, count: int) -> None:
            self.reached.inputs = count
            self.reached.states[State("completed", "", "")] = count
            self.reached.grown = 1 << 30

    monkeypatch.setattr(fuzz_jobs, "Search", Growing)
    finished = CliRunner().invoke(stress, ["--only", "parsers", "--parsers", "9"])
    assert finished.exit_code == 1
    assert finished.output == "parsers      violated  1024 MiB of memory are held more than after the first inputs\n"


def test_what_is_wrong_at_a_moment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a migration in which a cut does harm, then the moments are violated, and the migration is named."""
    monkeypatch.setattr(stress_command, "SWEPT", SWEPT[:1])
    monkeypatch.setattr(stress_command, "moments", list)
    monkeypatch.setattr(stress_command, "cut_everywhere", lambda _number, _reached: ["RAM is wrong"])
    finished = CliRunner().invoke(stress, ["--only", "moments"])
    assert finished.exit_code == 1
    assert finished.output.startswith(f"moments      violated  migration {SWEPT[0]}: RAM is wrong\n")


def test_interleavings_are_counted_and_violations_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given another number of interleavings than stated, that is an error; given a violation, its rule and moves are named."""
    assert sum(scene.interleavings for scene in SCENES) == 4500
    monkeypatch.setattr(stress_command, "run_all", lambda *_arguments: 1)
    assert stress_preemptions(2).outcome is Outcome.ERRORED
    assert stress_preemptions(1).outcome is Outcome.HOLDS

    def fail(*_arguments: object) -> int:
        raise Violation("barrier.park", "too early", ["a move"])

    monkeypatch.setattr(stress_command, "run_all", fail)
    ruling = stress_preemptions(2)
    assert (ruling.outcome, ruling.evidence) == (Outcome.VIOLATED, {"schedule": ["a move"]})
    assert "barrier.park: too early" in ruling.why
