"""What is found is made short on the subject itself, and kept as files that show it again."""

import itertools
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import pytest

from colofd.conformance import command
from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.black_box_schedules import run_schedule
from colofd.conformance.counterexample import Keeper, kept_text
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.put_schedule import SECONDS, put_outside, put_within
from colofd.conformance.saved_schedule import MOVES, Move, SavedSchedule, Seen, load
from colofd.conformance.schedules import plain, run_directed
from colofd.conformance.shrink import is_allowed, shrink, switches
from colofd.conformance.subjects import BuiltIn, Observed, Options
from colofd.conformance.vector_format import Vector
from colofd.conformance.violation import Violation
from colofd.spec.constants import Compression
from tests.conformance.fakes import showing

PAGE: Final = 4096
RUN: Final = "phase.enter-colo.run.json"


def say_nothing(_what: str) -> None:
    """Show no progress."""


def wrong_once_committed(seen: Observed) -> Observed:
    """Show another byte in page 3 of the guest if page 5 is not zero, either: two writes are needed to see it."""
    if not any(seen.guest[5 * PAGE : 6 * PAGE]) or not any(seen.guest[3 * PAGE : 4 * PAGE]):
        return seen
    return replace(seen, guest=seen.guest[: 3 * PAGE] + bytes([seen.guest[3 * PAGE] ^ 1]) + seen.guest[3 * PAGE + 1 :])


class Forgetful(BuiltInFromOutside):
    """Shows page 3 as it was not: its last byte is another one, unless the page is zero."""

    def guest(self) -> bytes:
        """Return guest RAM."""
        ram = super().guest()
        end = 4 * PAGE - 1
        return ram if not any(ram[3 * PAGE : end]) else ram[:end] + bytes([ram[end] ^ 1]) + ram[end + 1 :]


def found_within() -> Violation:
    with pytest.raises(Violation) as found:
        run_directed(showing(wrong_once_committed), plain, Options(compression=Compression.ZLIB))
    return found.value


def found_outside() -> Violation:
    with pytest.raises(Violation) as found:
        run_schedule(Forgetful, Options(), plain, SECONDS)  # type: ignore[arg-type]  # has the moves that it needs
    return found.value


def without(schedule: SavedSchedule, number: int) -> SavedSchedule:
    return msgspec.structs.replace(schedule, moves=[*schedule.moves[:number], *schedule.moves[number + 1 :]])


def test_the_moves_of_a_violation_are_recorded_and_can_be_made_again() -> None:
    """Given a violation of a wrong receiver, when its moves are made again, then the rule is violated; not by the right one."""
    recorded = found_within().recorded
    assert recorded is not None
    assert {move.do for move in recorded.moves} <= MOVES
    again = put_within(showing(wrong_once_committed), recorded)
    assert again is not None
    assert again.rule == recorded.rule == "isolation.guest"
    assert put_within(BuiltIn, recorded) is None


def test_a_schedule_of_threads_is_made_short() -> None:
    """Given a receiver that is wrong once two pages were written, when that is made short, then no move can be left out."""
    recorded = found_within().recorded
    assert recorded is not None
    shrunk = shrink(recorded, lambda schedule: put_within(showing(wrong_once_committed), schedule), say_nothing)
    assert shrunk.is_steady
    schedule = shrunk.schedule
    assert len(schedule.moves) < shrunk.before
    assert schedule.options.compression is Compression.NONE
    for number, move in enumerate(schedule.moves):
        less = without(schedule, number)
        broken = put_within(showing(wrong_once_committed), less) if is_allowed(less.moves, colo=True) else None
        assert broken is None or broken.rule != schedule.rule, f"{move} is not needed"


def test_what_is_seen_from_outside_is_kept_as_files(tmp_path: Path) -> None:
    """Given a receiver that shows a wrong byte in page 3, when it is kept, then a write and the end of precopy are left, as files."""
    keeper = Keeper("python:tests.conformance.test_shrink:Forgetful", tmp_path, say_nothing)
    keeper.outside(Forgetful, found_outside())
    (kept,) = keeper.kept
    assert kept.is_steady
    names = {"phase.enter-colo.json", "phase.enter-colo.svg", "phase.enter-colo.vector.json", "test_phase_enter_colo.py", RUN}
    assert {path.name for path in tmp_path.iterdir()} == names
    schedule = load(tmp_path / "phase.enter-colo.json")
    assert [(move.do, move.arguments) for move in schedule.moves] == [("primary_writes", [3, 1]), ("end_precopy", [])]
    vector = msgspec.json.decode((tmp_path / "phase.enter-colo.vector.json").read_bytes(), type=Vector)
    assert vector.rules[0] == "phase.enter-colo"
    assert "violated: phase.enter-colo" in (tmp_path / "phase.enter-colo.svg").read_text()
    (run,) = json.loads((tmp_path / RUN).read_text())["runs"]
    assert run["why"] == schedule.why
    assert "phase.enter-colo" in {step["rule"] for step in run["steps"]}


def test_the_pytest_file_fails_on_the_wrong_receiver_and_passes_on_the_right_one(tmp_path: Path) -> None:
    """Given what was kept, when its pytest file is run on the wrong receiver, then it fails by the rule; on the built-in one it passes."""
    for subject, is_wrong in (("python:tests.conformance.test_shrink:Forgetful", True), ("impl", False)):
        keeper = Keeper(subject, tmp_path, say_nothing)
        keeper.outside(Forgetful, found_outside())
        test = runpy.run_path(str(tmp_path / "test_phase_enter_colo.py"))["test_phase_enter_colo"]
        if is_wrong:
            with pytest.raises(AssertionError, match=r"phase\.enter-colo"):
                test()
        else:
            test()


def test_what_comes_and_goes_is_kept_as_found(tmp_path: Path) -> None:
    """Given a violation that does not come again, when it is kept, then it says so, and nothing is left out."""
    keeper = Keeper("impl", tmp_path, say_nothing)
    violation = found_outside()
    keeper.outside(BuiltInFromOutside, violation)
    (kept,) = keeper.kept
    assert not kept.is_steady
    assert violation.recorded is not None
    assert load(tmp_path / "phase.enter-colo.json") == violation.recorded
    assert "comes and goes" in "\n".join(kept_text(kept))


def test_switches_between_threads_are_taken_out() -> None:
    """Given steps of two threads in turn, and a subject that is always wrong, then one switch is left, and no step is lost."""
    steps = [Move("step", [name]) for name in ("mfd0", "mfd1", "mfd0", "mfd1")]
    found = SavedSchedule(Seen.WITHIN, Options(), steps, "isolation.guest", "")

    def put(schedule: SavedSchedule) -> Violation | None:
        return Violation("isolation.guest", "", []) if len(schedule.moves) == len(steps) else None

    shrunk = shrink(found, put, say_nothing).schedule
    assert (switches(steps), switches(shrunk.moves)) == (3, 1)
    assert sorted(move.arguments[0] for move in shrunk.moves) == ["mfd0", "mfd0", "mfd1", "mfd1"]


def test_another_rule_is_another_violation() -> None:
    """Given a subject that breaks another rule without a move, when that is made short, then the move stays."""
    moves = [Move("primary_writes", [0, 1]), Move("end_precopy")]
    found = SavedSchedule(Seen.OUTSIDE, Options(), moves, "receive.mirror", "")

    def put(schedule: SavedSchedule) -> Violation | None:
        return Violation("receive.mirror" if len(schedule.moves) == len(moves) else "receive.zero-page", "", [])

    assert shrink(found, put, say_nothing).schedule.moves == moves


@pytest.mark.parametrize(
    ("moves", "is_fine"),
    [
        (["send", "end_round", "end_precopy", "begin_checkpoint", "send", "receive_checkpoint", "commit", "failover"], True),
        (["end_precopy", "begin_checkpoint", "cut", "failover"], True),
        (["end_precopy", "send"], False),
        (["begin_checkpoint"], False),
        (["end_precopy", "end_precopy"], False),
        (["end_precopy", "begin_checkpoint", "commit"], False),
        (["failover"], False),
        (["end_precopy", "failover", "begin_checkpoint"], False),
    ],
)
def test_a_primary_keeps_to_its_order(moves: list[str], is_fine: bool) -> None:
    """Given moves in an order, then it is known whether a primary may make them so."""
    assert is_allowed([Move(name) for name in moves], colo=True) is is_fine


def test_without_colo_precopy_is_the_end() -> None:
    """Given a migration without COLO, then nothing may follow the end of precopy."""
    assert is_allowed([Move("send"), Move("end_precopy")], colo=False)
    assert not is_allowed([Move("end_precopy"), Move("begin_checkpoint")], colo=False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["colofd", "check", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    return int(str(ended.value.code or 0))


def test_a_schedule_is_put_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a saved schedule, when it is put to the wrong and to the right receiver, then the exit codes are 1 and 0."""
    Keeper("impl", tmp_path, say_nothing).outside(Forgetful, found_outside())
    path = str(tmp_path / "phase.enter-colo.json")
    assert run(monkeypatch, "python:tests.conformance.test_shrink:Forgetful", "--schedule", path) == 1
    assert "page 3" in capsys.readouterr().out
    assert run(monkeypatch, "impl", "--schedule", path) == 0
    assert "holds: 2 moves" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "schedule-missing"),
        ("{", "schedule-damaged"),
        ('{"seen":"within"}', "schedule-damaged"),
        ("unknown move", "schedule-damaged"),
    ],
)
def test_a_bad_file_has_its_own_message(content: str | None, code: str, tmp_path: Path) -> None:
    """Given no file, half a file, a file of something else, or an unknown move, when it is loaded, then that is what is said."""
    path = tmp_path / "schedule.json"
    if content == "unknown move":
        path.write_bytes(msgspec.json.encode(SavedSchedule(Seen.WITHIN, Options(), [Move("abandon")], "", "")))
    elif content is not None:
        path.write_text(content)
    with pytest.raises(Diagnostic) as bad:
        load(path)
    assert bad.value.code == code


def test_threads_of_others_cannot_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a schedule that holds threads, when it is put to a receiver seen from outside, then the exit code is 2."""
    path = tmp_path / "s.json"
    path.write_bytes(msgspec.json.encode(found_within().recorded))
    assert run(monkeypatch, "python:tests.conformance.test_shrink:Forgetful", "--schedule", str(path)) == 2
    assert "schedule-within" in capsys.readouterr().err


def test_the_control_is_no_violation() -> None:
    """Given the right receiver, when all that was recorded of the wrong one is put to it, then it obeys."""
    recorded = found_outside().recorded
    assert recorded is not None
    assert all(put_outside(BuiltInFromOutside, recorded) is None for _ in itertools.repeat(None, 3))
