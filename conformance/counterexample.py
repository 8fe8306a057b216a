"""Keeps what a check has found: a short schedule as a file that can be put to a receiver again, a vector, a pytest file and a picture."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from colofd.conformance.black_box import Version
from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.black_box_schedules import Make
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.diagrams import Drawing
from colofd.conformance.lockstep import Lockstep
from colofd.conformance.put_schedule import STALL_SECONDS, moved, put_outside, put_within, tried
from colofd.conformance.saved_schedule import SavedSchedule, make_move
from colofd.conformance.shrink import Shrunk, shrink
from colofd.conformance.subjects import BuiltIn, Factory
from colofd.conformance.vector_format import Vector
from colofd.conformance.vector_script import written
from colofd.conformance.violation import Violation
from colofd.conformance.web_run import NotingMachine, write_run
from colofd.spec.constants import MAIN_CHANNEL

FAMILY: Final = "found"
"""The family of the vectors that are written here."""

_TEST: Final = '''\
"""{rule}, as `colofd check` found it of {subject}."""

from pathlib import Path

from colofd.conformance.check_schedule import violation_of
from colofd.conformance.saved_schedule import load


def test_{name}() -> None:
    """Given the schedule beside this file, when it is put to the receiver, then nothing is violated."""
    violation = violation_of({subject!r}, load(Path(__file__).with_name({file!r})))
    assert violation is None, violation
'''


class Kept(msgspec.Struct, frozen=True):
    """What was kept of a violation: its rule, the files, how short it became, and the line that runs it again."""

    rule: str
    files: list[str]
    moves_found: int
    moves: int
    tries: int
    is_steady: bool
    rerun: str


@dataclass
class Keeper:
    """Shrinks what is found of a subject, and writes it to a folder."""

    subject: str
    folder: Path
    progress: Callable[[str], None]
    kept: list[Kept] = field(default_factory=list)

    def within(self, factory: Factory, violation: Violation) -> None:
        """Keep what was found of a receiver that is driven one micro-step at a time."""
        put = partial(put_within, factory)
        is_seen = violation.recorded is not None and tried(put)(violation.recorded) is not None
        self._keep(put if is_seen else partial(put, is_watched=True), violation, factory)

    def outside(self, make: Make, violation: Violation, version: Version | None = None) -> None:
        """Keep what was found of a receiver that is seen from outside. A candidate counts if the model can read it.

        And if the built-in receiver obeys there: then it is the receiver that is wrong, and not the schedule.
        """

        def put(schedule: SavedSchedule) -> Violation | None:
            vector_of(schedule)
            is_known_good = put_outside(BuiltInFromOutside, schedule, version) is None
            return put_outside(make, schedule, version) if is_known_good else None

        self._keep(put, violation)

    def _keep(self, put: Callable[[SavedSchedule], Violation | None], violation: Violation, factory: Factory = BuiltIn) -> None:
        if violation.recorded is not None:
            shrunk = shrink(violation.recorded, tried(put), self.progress)
            last = tried(put)(shrunk.schedule) if shrunk.is_steady else None
            self.kept.append(self._write(shrunk, (last or violation).moves, factory))

    def _write(self, shrunk: Shrunk, words: Sequence[str], factory: Factory) -> Kept:
        self.folder.mkdir(parents=True, exist_ok=True)
        schedule, name = shrunk.schedule, shrunk.schedule.rule
        python = name.replace("-", "_").replace(".", "_")
        path = self.folder / f"{name}.json"
        test = _TEST.format(rule=schedule.rule, subject=self.subject, name=python, file=path.name)
        contents = {
            path: msgspec.json.format(msgspec.json.encode(schedule)).decode() + "\n",
            self.folder / f"test_{python}.py": test,
            self.folder / f"{name}.svg": picture(schedule, words),
        }
        if shrunk.is_steady and (vector := vector_of(schedule)) is not None:
            contents[self.folder / f"{name}.vector.json"] = msgspec.json.encode(vector).decode() + "\n"
        for file, content in contents.items():
            file.write_text(content)
        files = [str(file) for file in contents]
        if write_run_of(factory, schedule, run := self.folder / f"{name}.run.json"):
            files.append(str(run))
        rerun = f"colofd check {shlex.quote(self.subject)} --schedule {shlex.quote(str(path))}"
        return Kept(schedule.rule, files, shrunk.before, len(schedule.moves), shrunk.tries, shrunk.is_steady, rerun)


def kept_text(kept: Kept) -> list[str]:
    """Return what a person reads of it."""
    if kept.is_steady:
        said = f"{kept.moves_found} moves, {kept.moves} after {kept.tries} runs"
    else:
        said = f"{kept.moves} moves, as found: it comes and goes"
    return [f"{kept.rule}: {said}", *(f"    {file}" for file in kept.files), f"    again: {kept.rerun}"]


def vector_of(schedule: SavedSchedule) -> Vector | None:
    """Return a schedule as a vector, or None if it cannot be run from outside. Rejected if the model says that no primary does so."""

    def moves(run: Any) -> None:
        for move in schedule.moves:
            if move.do not in ("check_end", "close"):
                make_move(run, move)

    return written(FAMILY, f"{schedule.rule}/found", schedule.options, moves, [schedule.rule])


def write_run_of(factory: Factory, schedule: SavedSchedule, path: Path) -> bool:
    """Write what the model did beside a receiver, for the explorer; beside the built-in one for a foreign one. False if it is too large."""
    run = Lockstep(factory, schedule.options, STALL_SECONDS, machine_class=NotingMachine)
    violation = tried(partial(moved, run))(schedule)
    try:
        write_run(path, cast("NotingMachine", run.machine), violation.why if violation else schedule.why)
    except Diagnostic:
        return False
    return True


_LANE: Final = 150
_ROW: Final = 22
_TOP: Final = 60


def picture(schedule: SavedSchedule, words: Sequence[str]) -> str:
    """Return a timeline as SVG: a lane for the peer, for each channel and for the secondary; what was violated is the last line."""
    channels = [f"mfd{number}" for number in range(schedule.options.channels)]
    lanes = {name: 40 + _LANE * number for number, name in enumerate(["peer", MAIN_CHANNEL, *channels, "secondary"])}
    steps = list(words[1:])
    bottom = _TOP + _ROW * len(steps)
    width = max(40 + _LANE * len(lanes), 40 + 7 * max(len(line) for line in [schedule.why, *steps]))
    drawing = Drawing(schedule.rule.replace(".", "-"), (width, bottom + 50), f"{schedule.rule}: {schedule.why}")
    for name, x in lanes.items():
        drawing.text((x, 24), _called(name), "start", weight="bold")
        drawing.line((x, 34), (x, bottom), dashes="2 4")
    for number, step in enumerate(steps):
        x, y = lanes[_lane(step, lanes)], _TOP + _ROW * number
        drawing.dot((x, y))
        drawing.text((x + 10, y + 4), step, "start")
    drawing.text((40, bottom + 16), f"violated: {schedule.rule}", "start", weight="bold")
    drawing.text((40, bottom + 34), schedule.why, "start")
    return drawing.svg() + "\n"


def _called(lane: str) -> str:
    return "main channel" if lane == MAIN_CHANNEL else lane


def _lane(step: str, lanes: Sequence[str] | dict[str, int]) -> str:
    first = step.split(" ", 1)[0]
    if first in lanes:
        return first
    return "secondary" if step.startswith(("failover", "guest writes", "the secondary", "the caller", "the receiver")) else "peer"
