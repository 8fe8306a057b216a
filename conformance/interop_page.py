"""What the runs with real QEMUs have shown, as text, and as sections of docs/interop.md, with the date of the run."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from colofd.conformance.qemu.provision import VERSIONS

if TYPE_CHECKING:
    # These need the package qemu.qmp, which is an extra.
    from colofd.conformance.qemu.cells import Cell
    from colofd.conformance.qemu.checkpoints import Row
    from colofd.conformance.qemu.failovers import Result as Failover
    from colofd.conformance.qemu.isolation import Cut
    from colofd.conformance.qemu.kills import Kill
    from colofd.conformance.qemu.lost_writes import LostWrites
    from colofd.conformance.qemu.matrix import Result
    from colofd.conformance.qemu.traces import Traced


def matrix_text(results: Sequence["Result"]) -> list[str]:
    """Return one line for each cell, and how many there are of each outcome."""
    lines = [f"  {_cell(each.cell):60} {each.outcome:8} {each.why or _pages(each)}" for each in results]
    return [*lines, "", _counted(each.outcome for each in results)]


def matrix_section(results: Sequence["Result"]) -> str:
    """Return the matrix as tables: one for each version and role."""
    lines = [f"## Interop matrix, {_today()}", "", f"`colofd qemu matrix`: {_counted(each.outcome for each in results)}.", ""]
    for version, role in dict.fromkeys((each.cell.version, each.cell.role) for each in results):
        of_both = [each for each in results if (each.cell.version, each.cell.role) == (version, role)]
        lines += [*_table_of(f"QEMU {version} as {role}", of_both), ""]
    return "\n".join(lines)


def _table_of(title: str, results: Sequence["Result"]) -> list[str]:
    run = [each.evidence for each in results if each.evidence is not None]
    lines = [f"### {title}", ""]
    if run:
        states = ", ".join(sorted({f"{each.migration}/{each.run_state}" for each in run}))
        fewest = min((count for each in run for count in each.pages.values()), default=0)
        compared = sum(len(each.sha256_of_ours) for each in run)
        lines += [f"{run[0].version}: {states}; RAM compared {compared} times; at least {fewest} pages with content on each channel.", ""]
    if not any(each.evidence for each in results):
        return [*lines, f"Skipped: {'; '.join(sorted({each.why for each in results}))}."]
    kinds = list(dict.fromkeys((each.cell.compression, each.cell.zero_pages) for each in results))
    found = {(each.cell.channels, each.cell.compression, each.cell.zero_pages): each for each in results}
    header = ["channels", *(f"{compression}, zero pages {zero}" for compression, zero in kinds)]
    rows = [
        [str(channels), *(_short(found.get((channels, *kind))) for kind in kinds)]
        for channels in dict.fromkeys(each.cell.channels for each in results)
    ]
    skipped = sorted({each.why for each in results if each.outcome == "skipped"})
    failed = [f"{_cell(each.cell)}: {each.why}" for each in results if each.outcome in ("differs", "failed")]
    notes = [f"* skipped: {why}" for why in skipped] + [f"* {why}" for why in failed]
    return [*lines, *_table(header, rows), *[""] * bool(notes), *notes]


def _short(result: "Result | None") -> str:
    return "" if result is None else str(result.outcome)


def checkpoints_text(rows: Sequence["Row"]) -> list[str]:
    """Return one line for each row of checkpoints."""
    return [
        f"  {each.accelerator}, {each.channels} channels, {each.compression}: {each.commits - len(each.differing)} of {each.commits} "
        f"checkpoints equal, {each.contents} contents, {each.seconds:.1f} s"
        for each in rows
    ]


def checkpoints_section(rows: Sequence["Row"]) -> str:
    """Return the rows of checkpoints as a table."""
    head = [
        _title("Checkpoints in a row", rows[0].version),
        "",
        f"{_command('checkpoints', rows[0].version)}, QEMU {rows[0].version} as primary, its guest writes.",
        "",
    ]
    header = [
        "accelerator",
        "channels",
        "compression",
        "digests equal",
        "different contents",
        "pages with content",
        "RAM at the last commit",
    ]
    cells = [
        [
            each.accelerator,
            str(each.channels),
            each.compression,
            f"{each.commits - len(each.differing)} of {each.commits}",
            str(each.contents),
            str(sum(each.pages.values())),
            f"{each.sha256[:16]}...",
        ]
        for each in rows
    ]
    return "\n".join([*head, *_table(header, cells), ""])


def traces_text(found: Sequence["Traced"]) -> list[str]:
    """Return one line for each recorded run."""
    return ["  " + ", ".join(_traced(each)) for each in found]


def traces_section(found: Sequence["Traced"]) -> str:
    """Return what became of each recorded run as a table."""
    head = [f"## Real runs as behaviours of the specification, {_today()}", "", "`colofd qemu traces`.", ""]
    about = (
        "What a real source sent is recorded and received again, and each micro-step is put to the specification, and to the profile of "
        "the source's version. As a control, one event is left out: that must be refused."
    )
    header = ["source", "migration", "micro-steps", "by the specification", "by the version's profile", "control"]
    return "\n".join([*head, about, "", *_table(header, [_traced(each) for each in found]), ""])


def _traced(each: "Traced") -> list[str]:
    kind = "COLO" if each.setting.colo else "precopy"
    migration = f"{kind}, {each.setting.channels} channels, {each.setting.compression}"
    verdicts = [f"refused: {told}" if told else "accepted" for told in (each.strict, each.profile, each.control)]
    return [each.version.split()[0], migration, str(each.events), *verdicts]


def failover_text(results: Sequence["Failover"]) -> list[str]:
    """Return one line for each scenario."""
    return [f"  {_scenario(each):64} {each.outcome}: {each.why}" for each in results]


def failover_section(results: Sequence["Failover"]) -> str:
    """Return the scenarios as a table."""
    rows = [
        [str(each.scenario.channels), each.scenario.survivor, each.scenario.moment, each.scenario.ours, f"{each.outcome}: {each.why}"]
        for each in results
    ]
    head = [
        _title("Failover", results[0].version),
        "",
        f"{_command('failover', results[0].version)}, QEMU {results[0].version}: {_counted(e.outcome for e in results)}.",
        "",
    ]
    table = _table(["channels", "survivor", "the other one dies", "our side", "outcome"], rows)
    return "\n".join([*head, *table, ""])


def kill_text(kills: Sequence["Kill"]) -> list[str]:
    """Return one line for each primary that was killed, and how many commits were lost."""
    lines = [f"  killed after {each.seconds:.3f} s, {each.phase}: {each.why}" for each in kills]
    return [*lines, f"{sum(each.is_right for each in kills)} of {len(kills)} killed primaries: no commit lost"] if kills else []


def kill_section(kills: Sequence["Kill"], seed: int, version: str) -> str:
    """Return what became of the commits when real primaries were killed."""
    if not kills:
        return ""
    phases = _counted(each.phase for each in kills)
    commits = [each.commits for each in kills]
    lost = [each for each in kills if not each.is_right]
    return "\n".join(
        [
            _title("Primaries killed at random moments", version),
            "",
            f"{_command(f'failover --kills {len(kills)} --seed {seed}', version)}: our secondary took over from {len(kills)} real",
            f"primaries with a writing guest; it was then {phases}, with {min(commits)} to {max(commits)} checkpoints",
            f"committed ({sum(commits)} in all).",
            f"Lost: {len(lost)}. Each commit was the stopped primary's RAM, and RAM after the failover was the last commit.",
            *(f"* {each.why}" for each in lost),
            "",
        ]
    )


def isolation_text(cuts: Sequence["Cut"]) -> list[str]:
    """Return one line for each cut."""
    return [
        f"  {each.channels} channels, cut behind {each.at:44} {each.changed} pages changed, {each.changed_after} after: {each.failover}"
        for each in cuts
    ]


def isolation_section(cuts: Sequence["Cut"], version: str) -> str:
    """Return the cuts as a table."""
    rows = [[str(e.channels), e.at, str(e.looks), str(e.changed), str(e.changed_after), e.failover] for e in cuts]
    head = [
        _title("Isolation", version),
        "",
        f"{_command('isolation', version)}, QEMU {version} as secondary. A checkpoint is cut behind each record and packet",
        "boundary; RAM is hashed all the time, until the primary is gone. The last row of each kind is the control: there the checkpoint",
        "is whole, and must show.",
        "",
    ]
    header = ["channels", "cut behind", "looks", "pages changed", "pages changed after failover", "failover"]
    return "\n".join([*head, *_table(header, rows), ""])


def lost_writes_text(counted: Sequence["LostWrites"]) -> list[str]:
    """Return one line for each kind of source."""
    return [
        f"  {each.accelerator}, {each.guest}: {each.checkpoints} of {each.tries} with a wrong checkpoint, "
        f"{each.at_the_end_of_precopy} wrong at the end of precopy; up to {each.most_pages} pages"
        for each in counted
    ]


def lost_writes_section(counted: Sequence["LostWrites"]) -> str:
    """Return the counts as a table."""
    rows = [
        [
            each.accelerator,
            each.guest,
            f"{each.at_the_end_of_precopy} of {each.tries}",
            "" if each.guest.startswith("precopy") else f"{each.checkpoints} of {each.tries}",
            str(each.most_pages),
        ]
        for each in counted
    ]
    version = counted[0].version
    head = [_title("Writes that a source loses", version), "", f"{_command('lost-writes', version)}, QEMU {version} as source.", ""]
    header = ["accelerator", "the guest", "the end of precopy is wrong", "a checkpoint is wrong", "pages at most"]
    return "\n".join([*head, *_table(header, rows), ""])


def _cell(cell: "Cell") -> str:
    return f"{cell.version} {cell.role}, {cell.channels} channels, {cell.compression}, zero pages {cell.zero_pages}"


def _pages(result: "Result") -> str:
    return "" if result.evidence is None else ", ".join(f"{name} {count}" for name, count in sorted(result.evidence.pages.items()))


def _scenario(result: "Failover") -> str:
    each = result.scenario
    return f"{each.channels} channels, {each.survivor} survives, {each.moment}, ours: {each.ours}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]]


def _counted(outcomes: Iterable[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in Counter(outcomes).items())


def _title(what: str, version: str) -> str:
    return f"## {what}: QEMU {version.partition(' ')[0]}, {_today()}"


def _command(name: str, version: str) -> str:
    """Return a command as it is given for a version: without an option, it is the last one."""
    number = next((each for each in VERSIONS if version.startswith(f"{each}.")), "PATH")
    return f"`colofd qemu {name}`" if number == VERSIONS[-1] else f"`colofd qemu {name} --qemu {number}`"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
