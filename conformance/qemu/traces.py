"""Real runs as behaviours: what a real source sent, recorded and received again with every micro-step, is put to the specification."""

import hashlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from colofd.conformance import replay_impl
from colofd.conformance.captures import Capture, load
from colofd.conformance.known_deviations import Known
from colofd.conformance.qemu.ends import BLOCK, PAGES, SECONDS, OurSecondary, Setting, address, sending
from colofd.conformance.qemu.provision import VERSIONS, get
from colofd.conformance.recorder import Described, Recorder
from colofd.conformance.replay import judge
from colofd.conformance.trace_check import TraceReport, check_trace, check_trace_against
from colofd.conformance.trace_file import EndLine, read_trace, writer_for
from colofd.impl import Commit
from colofd.spec.constants import TARGET_PAGE_SIZE, Compression, Step
from colofd.spec.protocol import BOTH_SIDES

CHECKPOINTS: Final = 3
LEFT_OUT: Final = (Step.READ_PAGE, Step.MAIN_READ_PAGE)
"""Of the control, the last event of these steps is left out: then it must be refused."""


@dataclass(frozen=True)
class Run:
    """A migration of a version that is recorded."""

    version: str
    setting: Setting


@dataclass(frozen=True)
class Traced:
    """A recorded run, and what the specification says of it.

    Attributes:
        version: what the source says of its version.
        setting: the migration's.
        events: how many micro-steps there were.
        strict: the first refused event by the specification itself; nothing if it accepts the run.
        profile: the same by the version's profile, which allows what the specification does, and what the version does otherwise.
        control: the first refused event by the profile of the run with one event left out: there must be one.
        is_equal: whether RAM was equal at each commit when it was received again.
    """

    version: str
    setting: Setting
    events: int
    strict: str
    profile: str
    control: str
    is_equal: bool

    @property
    def is_right(self) -> bool:
        """Whether the run is accepted, and the control is not."""
        return self.is_equal and not self.strict and not self.profile and bool(self.control)


def runs() -> tuple[Run, ...]:
    """Return what is recorded of each version: precopy, and COLO of 11.1; captures do not know replies without a return path."""
    found = []
    for version in VERSIONS:
        is_new = version == VERSIONS[-1]
        is_old = version == VERSIONS[0]
        found.append(Run(version, Setting(0)))
        found += [Run(version, Setting(2, compression)) for compression in Compression if not is_old]
        found += [Run(version, Setting(channels, colo=True)) for channels in (0, 1, 2, 4) if is_new]
    return tuple(found)


def trace_all(some: tuple[Run, ...], progress: Callable[[str], None] = lambda _what: None) -> list[Traced]:
    """Record and judge the runs. QemuFailed, QemuUnavailable."""
    found = []
    for run in some:
        progress(f"{run.version}, {run.setting.channels} channels, {'COLO' if run.setting.colo else 'precopy'}")
        found.append(_traced(run))
    return found


def _traced(run: Run) -> Traced:
    with tempfile.TemporaryDirectory(prefix="colofd-") as folder:
        capture = _recorded(run, Path(folder))
        file = io.BytesIO()
        with writer_for(capture, file) as writer:
            reading = replay_impl.read(capture, writer.note)
    lines = file.getvalue().splitlines(keepends=True)
    readings = tuple(Known(f"qemu-{run.version}").readings())
    strict = check_trace(read_trace(lines), BOTH_SIDES)
    profile, control = (check_trace_against(read_trace(each), readings)[0] for each in (lines, _without_one(lines)))
    is_equal = judge(capture, {"impl": reading}).holds
    return Traced(get(run.version).version, run.setting, strict.events, _told(strict), _told(profile), _told(control), is_equal)


def _recorded(run: Run, folder: Path) -> Capture:
    """Let a real source migrate into our end, and return what was recorded of it."""
    qemu, setting = get(run.version), run.setting
    recorder = Recorder(folder / "capture")
    try:

        def note(commit: Commit) -> None:
            recorder.note_commit(hashlib.sha256(commit.blocks[BLOCK].data).hexdigest())

        with (
            sending(qemu, folder, setting) as machine,
            OurSecondary(folder, setting, note, through=recorder.through) as ours,
        ):
            machine.command("migrate", uri=address(folder))
            destination = ours.take()
            if setting.colo:
                destination.wait_checkpoint(CHECKPOINTS, SECONDS)
                destination.failover(SECONDS)
            else:
                destination.wait(SECONDS)
            digest = None if setting.colo else hashlib.sha256(destination.guest(BLOCK).data).hexdigest()
            described = Described(setting.channels, setting.compression, setting.colo, TARGET_PAGE_SIZE, BLOCK, PAGES * TARGET_PAGE_SIZE)
            recorder.save(described, digest)
        return load(recorder.folder)
    finally:
        recorder.discard()


def _without_one(lines: list[bytes]) -> list[bytes]:
    """Return the run without its last event of `LEFT_OUT`, whole otherwise."""
    keys = [f'"step":"{step}"'.encode() for step in LEFT_OUT]
    at = max(number for number, line in enumerate(lines) if any(key in line for key in keys))
    events = sum(b'"step":' in line for line in lines) - 1
    return [*lines[:at], *lines[at + 1 : -1], msgspec.json.encode(EndLine(events)) + b"\n"]


def _told(report: TraceReport) -> str:
    """Return nothing of a run that is accepted; else its first refused event, and what does not hold."""
    if report.failing is None or report.refused is None:
        return ""
    return f"event {report.refused_at}, {report.refused['step']} {report.refused['channel']}: {report.failing['id']}"
