"""Our ends and real QEMUs: a slice of the matrix, QEMU's COLO scenarios, and cuts of a checkpoint. Skipped where no QEMU can be had."""

from dataclasses import replace

import pytest

from colofd.conformance.primary import ZeroPages
from colofd.conformance.qemu import matrix
from colofd.conformance.qemu.cells import NEW, Cell, Role, all_cells, pairwise
from colofd.conformance.qemu.ends import Setting
from colofd.conformance.qemu.failovers import Moment, Outcome, Scenario, Side, run_scenario, scenarios
from colofd.conformance.qemu.isolation import WHOLE, cut_everywhere
from colofd.conformance.qemu.kills import kill_primaries
from colofd.conformance.qemu.lost_writes import Guest, count_lost_writes
from colofd.conformance.qemu.matrix import Evidence, run_matrix
from colofd.conformance.qemu.provision import VERSIONS, Qemu, QemuUnavailable, get
from colofd.conformance.qemu.traces import Run, trace_all
from colofd.spec.constants import Compression

SLICE = pairwise([cell for cell in all_cells() if not cell.why_skipped()])
CELL = Cell(NEW, Role.DESTINATION, 2, Compression.NONE, ZeroPages.MULTIFD)
GOOD = Evidence("11.1.3", "completed", "paused", ["one"], ["one"], {"mfd0": 3, "mfd1": 1})


@pytest.fixture
def qemu() -> Qemu:
    try:
        return get(NEW)
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU {NEW} here: {unavailable}")


def test_the_slice_has_every_pair() -> None:
    """Given all cells that can be run, then any two values that go together in one of them do so in the slice, which is much smaller."""
    runnable = [cell for cell in all_cells() if not cell.why_skipped()]
    assert len(SLICE) < len(runnable) / 5
    for one in ("version", "role", "channels", "compression", "zero_pages"):
        for other in ("version", "role", "channels", "compression", "zero_pages"):
            pairs = [{(getattr(cell, one), getattr(cell, other)) for cell in cells} for cells in (runnable, SLICE)]
            assert pairs[0] == pairs[1]


@pytest.mark.parametrize("cell", SLICE, ids=lambda cell: f"{cell.version}-{cell.role}-{cell.channels}-{cell.compression}-{cell.zero_pages}")
def test_a_cell_of_the_matrix(cell: Cell) -> None:
    """Given a QEMU and one of our ends, when a guest goes from one to the other, then RAM is equal, and each channel has carried pages."""
    (result,) = run_matrix([cell])
    if result.outcome is matrix.Outcome.SKIPPED:
        pytest.skip(result.why)
    assert (result.outcome, result.why) == (matrix.Outcome.EQUAL, "")


@pytest.mark.parametrize(
    ("evidence", "outcome", "why"),
    [
        (GOOD, matrix.Outcome.EQUAL, ""),
        (replace(GOOD, sha256_of_ours=["other"]), matrix.Outcome.DIFFERS, "RAM differs"),
        (replace(GOOD, migration="active"), matrix.Outcome.FAILED, "the migration is active, and should be completed"),
        (replace(GOOD, pages={"mfd0": 3, "main": 9}), matrix.Outcome.FAILED, "no page with content went by mfd1"),
        (
            replace(GOOD, sha256_of_qemu=[], sha256_of_ours=[]),
            matrix.Outcome.FAILED,
            "RAM was compared 0 times, and should have been 1 times",
        ),
    ],
    ids=["good", "RAM differs", "not over", "an idle channel", "nothing compared"],
)
def test_a_cell_counts_only_with_evidence(evidence: Evidence, outcome: matrix.Outcome, why: str) -> None:
    """Given what was seen in a run, then the cell is equal only if the states, both digests and the pages of each channel are there."""
    assert matrix.judge(CELL, evidence) == (outcome, why)


def test_what_cannot_be_run_says_why() -> None:
    """Given all cells, then each that is skipped has a reason, and only the oldest versions and COLO before 11 have such cells."""
    skipped = [cell for cell in all_cells() if cell.why_skipped()]
    assert {(cell.version, cell.role.is_colo) for cell in skipped} == {("7.2", True), ("7.2", False), ("10.0", True)}
    assert {cell.version for cell in all_cells()} == set(VERSIONS)


@pytest.mark.parametrize(
    "scenario",
    [each for each in scenarios() if each.channels],
    ids=lambda each: f"{each.survivor} survives, {each.moment}, ours is the {each.ours}",
)
def test_who_survives_has_the_last_commit(qemu: Qemu, scenario: Scenario) -> None:
    """Given a COLO pair of a QEMU and our end, when one dies, then the other has the last commit; a real one may deadlock as is known."""
    result = run_scenario(qemu, scenario)
    is_known = scenario == Scenario(2, Side.SECONDARY, Moment.SYNC_MISSING, Side.PRIMARY)
    assert result.outcome is (Outcome.KNOWN if is_known else Outcome.SURVIVED), result.why


def test_killed_primaries_lose_nothing(qemu: Qemu) -> None:
    """Given real primaries whose guests write, when they are killed at random moments, then our secondary has the last commit each time."""
    kills = kill_primaries(qemu, 10, 2)
    assert [kill.why for kill in kills if not kill.is_right] == []
    assert sum(kill.commits for kill in kills) > 10, "too few commits to say anything"


@pytest.mark.parametrize("channels", [0, 2])
def test_nothing_shows_before_a_checkpoint_is_whole(qemu: Qemu, channels: int) -> None:
    """Given a real secondary, when a checkpoint is cut short, then no page of its guest has changed; when it is not, then some have."""
    cuts = cut_everywhere(qemu, channels, every=4)
    assert [cut for cut in cuts if not cut.is_right] == []
    assert WHOLE in cuts[-1].at
    assert cuts[-1].changed > 0
    assert min(cut.looks for cut in cuts) > 10


def test_a_real_primary_loses_writes_only_if_its_guest_wrote_in_precopy(qemu: Qemu) -> None:
    """Given a real primary under TCG, then its checkpoints lack writes in one of at most 30 tries; with a still guest, they never do."""
    assert count_lost_writes(qemu, "tcg", Guest.IN_COLO, 5).is_lossless
    assert any(count_lost_writes(qemu, "tcg", Guest.ALWAYS, 1).checkpoints for _ in range(30))


def test_a_real_run_is_a_behaviour_of_the_specification(qemu: Qemu) -> None:
    """Given a recorded run of a real source, then the specification and the profile accept it; with one event left out, they do not."""
    assert qemu.version.startswith(NEW)
    (traced,) = trace_all((Run(NEW, Setting(2, Compression.ZSTD, colo=True)),))
    assert (traced.strict, traced.profile, traced.is_equal) == ("", "", True)
    assert "receive.payload-complete" in traced.control
