"""Runs the interop matrix: each cell is one migration, and counts only with evidence of its own."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from colofd.conformance.incoming import NobodyCame
from colofd.conformance.outgoing import NotReached
from colofd.conformance.peer import UnexpectedReply
from colofd.conformance.primary_schedule import EndPrecopy, Rest, generated, play
from colofd.conformance.qemu.cells import OLD, Cell, Role
from colofd.conformance.qemu.ends import BLOCK, PAGES, SECONDS, OurSecondary, Setting, address, our_primary, receiving, sending
from colofd.conformance.qemu.machine import Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get
from colofd.impl import Commit
from colofd.spec.constants import MAIN_CHANNEL, channel_name
from colofd.spec.reasons import Rejected

CHECKPOINTS: Final = 3
"""How many checkpoints a COLO cell has after precopy."""


class Outcome(StrEnum):
    """What became of a cell."""

    EQUAL = "equal"
    DIFFERS = "differs"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass
class Evidence:
    """What was seen in the very run: QEMU's version and states, the digest of RAM at each end, and the pages with content per channel."""

    version: str = ""
    migration: str = ""
    run_state: str = ""
    sha256_of_qemu: list[str] = field(default_factory=list)
    """At the end, or with COLO at each commit."""
    sha256_of_ours: list[str] = field(default_factory=list)
    pages: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A cell, and what became of it."""

    cell: Cell
    outcome: Outcome
    why: str = ""
    evidence: Evidence | None = None
    seconds: float = 0.0


def run_matrix(cells: Sequence[Cell], progress: Callable[[str], None] = lambda _what: None) -> list[Result]:
    """Run the cells; one that fails does not keep others from running."""
    results = []
    for number, cell in enumerate(cells, 1):
        progress(f"{number} of {len(cells)}: {cell.version} {cell.role}, {cell.channels} channels, {cell.compression}")
        results.append(_run(cell))
    return results


def _run(cell: Cell) -> Result:
    if why := cell.why_skipped():
        return Result(cell, Outcome.SKIPPED, why)
    try:
        qemu = get(cell.version)
    except QemuUnavailable as unavailable:
        return Result(cell, Outcome.SKIPPED, str(unavailable))
    evidence = Evidence(version=qemu.version)
    begin = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="colofd-") as folder:
            _MIGRATIONS[cell.role](qemu, Path(folder), cell, evidence)
        outcome, why = judge(cell, evidence)
    except (QemuFailed, NobodyCame, NotReached, Rejected, UnexpectedReply, TimeoutError) as error:
        outcome, why = Outcome.FAILED, str(error)
    return Result(cell, outcome, why, evidence, round(time.monotonic() - begin, 3))


def judge(cell: Cell, evidence: Evidence) -> tuple[Outcome, str]:
    """Return what becomes of a cell by its evidence, and why if RAM is not equal."""
    wanted = "colo" if cell.role.is_colo else "completed"
    if evidence.migration != wanted:
        return Outcome.FAILED, f"the migration is {evidence.migration}, and should be {wanted}"
    carriers = [channel_name(number) for number in range(cell.channels)] or [MAIN_CHANNEL]
    if idle := [name for name in carriers if not evidence.pages.get(name)]:
        return Outcome.FAILED, f"no page with content went by {', '.join(idle)}"
    at_least = CHECKPOINTS + 1 if cell.role.is_colo else 1
    if len(evidence.sha256_of_ours) < at_least:
        return Outcome.FAILED, f"RAM was compared {len(evidence.sha256_of_ours)} times, and should have been {at_least} times"
    if evidence.sha256_of_ours != evidence.sha256_of_qemu:
        return Outcome.DIFFERS, "RAM differs"
    return Outcome.EQUAL, ""


def _from_source(qemu: Qemu, folder: Path, cell: Cell, evidence: Evidence) -> None:
    setting = Setting(cell.channels, cell.compression)
    zero_pages = None if cell.version == OLD else cell.zero_pages
    with sending(qemu, folder, setting, zero_pages=zero_pages) as machine, OurSecondary(folder, setting) as ours:
        machine.command("migrate", uri=address(folder))
        destination = ours.take()
        destination.wait(SECONDS)
        evidence.sha256_of_ours.append(hashlib.sha256(destination.guest(BLOCK).data).hexdigest())
        evidence.pages = dict(ours.normal_pages)
        machine.wait_for_migration("completed", "failed", within=SECONDS)
        _look_at(machine, evidence)
        evidence.sha256_of_qemu.append(machine.digest())


def _into_destination(qemu: Qemu, folder: Path, cell: Cell, evidence: Evidence) -> None:
    setting = Setting(cell.channels, cell.compression)
    with receiving(qemu, folder, setting) as machine:
        primary = our_primary(folder, setting, cell.dialect)
        try:
            sent = play(primary, (Rest(), EndPrecopy()))
            machine.wait_for_migration("completed", "failed", within=SECONDS)
        finally:
            primary.close()
        evidence.sha256_of_ours += sent.commits
        evidence.pages = dict(primary.normal_pages)
        _look_at(machine, evidence)
        evidence.sha256_of_qemu.append(machine.digest())


def _from_primary(qemu: Qemu, folder: Path, cell: Cell, evidence: Evidence) -> None:
    setting = Setting(cell.channels, cell.compression, colo=True, enables_colo=qemu.needs_enable_colo)
    zero_pages = None if cell.version == OLD else cell.zero_pages
    with sending(qemu, folder, setting, zero_pages=zero_pages, accelerator=cell.accelerator) as machine:

        def compare(commit: Commit) -> None:
            # The primary is stopped until it is answered.
            evidence.sha256_of_qemu.append(machine.digest())
            evidence.sha256_of_ours.append(hashlib.sha256(commit.blocks[BLOCK].data).hexdigest())

        with OurSecondary(folder, setting, compare) as ours:
            machine.command("migrate", uri=address(folder))
            destination = ours.take()
            destination.wait_checkpoint(CHECKPOINTS, SECONDS)
            _look_at(machine, evidence)
            destination.failover()
            evidence.pages = dict(ours.normal_pages)


def _into_secondary(qemu: Qemu, folder: Path, cell: Cell, evidence: Evidence) -> None:
    setting = Setting(cell.channels, cell.compression, colo=True, enables_colo=qemu.needs_enable_colo)
    with receiving(qemu, folder, setting) as machine:
        primary = our_primary(folder, setting, cell.dialect)

        def compare(sha256: str) -> None:
            evidence.sha256_of_ours.append(sha256)
            evidence.sha256_of_qemu.append(machine.digest())

        try:
            sent = play(primary, generated(PAGES, CHECKPOINTS, 200, 1), at_commit=compare)
            if sent.ended_by:
                raise UnexpectedReply(sent.ended_by)
            _look_at(machine, evidence)
        finally:
            primary.close()
        evidence.pages = dict(primary.normal_pages)


def _look_at(machine: Machine, evidence: Evidence) -> None:
    evidence.migration = str(machine.migration().get("status"))
    evidence.run_state = machine.status()


_MIGRATIONS: Final[Mapping[Role, Callable[[Qemu, Path, Cell, Evidence], None]]] = {
    Role.SOURCE: _from_source,
    Role.DESTINATION: _into_destination,
    Role.PRIMARY: _from_primary,
    Role.SECONDARY: _into_secondary,
}
