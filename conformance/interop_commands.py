"""The commands `colofd qemu matrix`, `checkpoints`, `traces`, `failover`, `isolation` and `lost-writes`: our ends and real QEMUs."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from colofd.conformance import interop_page
from colofd.conformance.findings_commands import binary_option, running_qemu
from colofd.conformance.qemu.provision import has_kvm, named

_as_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
_as_markdown = click.option("--markdown", "as_markdown", is_flag=True, help="A section of docs/interop.md instead of text.")


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{what}", nl=False, err=True)


def _needing_qemu(run: Callable[[], None]) -> None:
    with running_qemu():
        run()


def _print(rows: Sequence[Any], section: Callable[[], str], text: Sequence[str], *, as_json: bool, as_markdown: bool) -> None:
    _progress("")
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        click.echo(section() if as_markdown else "\n".join(text))


@click.command()
@click.option("--slice", "is_slice", is_flag=True, help="Some cells only, in which each two values that can go together do.")
@_as_json
@_as_markdown
@click.option("--evidence", type=click.Path(dir_okay=False, path_type=Path), help="Write all cells with their evidence to a file, as JSON.")
def matrix(is_slice: bool, as_json: bool, as_markdown: bool, evidence: Path | None) -> None:
    """Run migrations between real QEMUs and our ends, in both directions, and compare RAM.

    A cell counts only with the binary's version, QEMU's states, the digests of RAM at both ends, and pages with content on each channel,
    all of this very run. What cannot be run is shown as skipped, with the reason.

    Exit codes: 0 RAM is equal in all cells that could be run, 1 it is not in some, 2 none could be run.

    Example: colofd qemu matrix --slice
    """

    def run() -> None:
        # Only here, for the package qemu.qmp is an extra.
        from colofd.conformance.qemu.cells import all_cells, pairwise  # noqa: PLC0415
        from colofd.conformance.qemu.matrix import Outcome, run_matrix  # noqa: PLC0415

        cells = all_cells()
        results = run_matrix(pairwise([cell for cell in cells if not cell.why_skipped()]) if is_slice else cells, _progress)
        if evidence is not None:
            evidence.write_text("[\n" + ",\n".join(json.dumps(asdict(each)) for each in results) + "\n]\n")
        text = interop_page.matrix_text(results)
        _print(results, lambda: interop_page.matrix_section(results), text, as_json=as_json, as_markdown=as_markdown)
        outcomes = {each.outcome for each in results}
        sys.exit(1 if outcomes & {Outcome.DIFFERS, Outcome.FAILED} else 0 if Outcome.EQUAL in outcomes else 2)

    _needing_qemu(run)


@click.command()
@click.option("--count", type=click.IntRange(1), default=100, show_default=True, help="Checkpoints in a row, in each setting.")
@binary_option
@_as_json
@_as_markdown
def checkpoints(name: str, count: int, as_json: bool, as_markdown: bool) -> None:
    """Receive many checkpoints in a row from a real primary whose guest writes, and compare RAM at each commit, while the primary waits.

    Exit codes: 0 all digests are equal, 1 some are not, 2 it could not be run.

    Example: colofd qemu checkpoints --count 20
    """

    def run() -> None:
        from colofd.conformance.qemu.checkpoints import rows  # noqa: PLC0415

        qemu = named(name)
        found = rows(qemu, count, _progress)
        text = interop_page.checkpoints_text(found)
        _print(found, lambda: interop_page.checkpoints_section(found), text, as_json=as_json, as_markdown=as_markdown)
        sys.exit(0 if all(each.is_right for each in found) else 1)

    _needing_qemu(run)


@click.command()
@_as_json
@_as_markdown
def traces(as_json: bool, as_markdown: bool) -> None:
    """Record real sources of each version, receive them again with every micro-step, and put these to the specification.

    As a control, the same run with one event left out must be refused.

    Exit codes: 0 all are accepted and the controls are not, 1 else, 2 it could not be run.

    Example: colofd qemu traces
    """

    def run() -> None:
        from colofd.conformance.qemu.traces import runs, trace_all  # noqa: PLC0415

        found = trace_all(runs(), _progress)
        text = interop_page.traces_text(found)
        _print(found, lambda: interop_page.traces_section(found), text, as_json=as_json, as_markdown=as_markdown)
        sys.exit(0 if all(each.is_right for each in found) else 1)

    _needing_qemu(run)


@click.command()
@click.option("--kills", type=click.IntRange(0), default=0, show_default=True, help="Kill a real primary at so many random moments, too.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the moments.")
@binary_option
@_as_json
@_as_markdown
def failover(name: str, kills: int, seed: int, as_json: bool, as_markdown: bool) -> None:
    """Run QEMU's own COLO scenarios with one of our ends on either side: the other one dies, and the survivor must have the last commit.

    Exit codes: 0 all survived or are known deviations, 1 something else happened, 2 it could not be run.

    Example: colofd qemu failover --kills 10
    """

    def run() -> None:
        from colofd.conformance.qemu.failovers import Outcome, run_scenario, scenarios  # noqa: PLC0415
        from colofd.conformance.qemu.kills import kill_primaries  # noqa: PLC0415

        qemu = named(name)
        results = []
        for scenario in scenarios(multifd=not qemu.needs_enable_colo):
            _progress(f"{scenario.survivor} survives, {scenario.channels} channels, {scenario.moment}, ours is the {scenario.ours}")
            results.append(run_scenario(qemu, scenario))
        killed = kill_primaries(qemu, kills, seed, _progress)
        text = [*interop_page.failover_text(results), *interop_page.kill_text(killed)]
        section = lambda: interop_page.failover_section(results) + "\n" + interop_page.kill_section(killed, seed, qemu.version)  # noqa: E731
        _print([*results, *killed], section, text, as_json=as_json, as_markdown=as_markdown)
        is_right = all(each.outcome is not Outcome.NEW for each in results) and all(each.is_right for each in killed)
        sys.exit(0 if is_right else 1)

    _needing_qemu(run)


@click.command()
@binary_option
@_as_json
@_as_markdown
def isolation(name: str, as_json: bool, as_markdown: bool) -> None:
    """Cut the stream of a checkpoint into a real secondary at every record and packet boundary: nothing of it may show in guest RAM.

    Exit codes: 0 nothing shows, 1 something does, 2 it could not be run.

    Example: colofd qemu isolation
    """

    def run() -> None:
        from colofd.conformance.qemu.cells import OLD  # noqa: PLC0415
        from colofd.conformance.qemu.isolation import cut_everywhere  # noqa: PLC0415

        qemu = named(name)
        # The pieces of a checkpoint with multifd end with MULTIFD_FLUSH, which 7.2 does not have.
        channels = (0,) if qemu.version.startswith(f"{OLD}.") else (2, 0)
        cuts = [cut for count in channels for cut in cut_everywhere(qemu, count)]
        section = lambda: interop_page.isolation_section(cuts, qemu.version)  # noqa: E731
        _print(cuts, section, interop_page.isolation_text(cuts), as_json=as_json, as_markdown=as_markdown)
        sys.exit(0 if all(cut.is_right for cut in cuts) else 1)

    _needing_qemu(run)


@click.command("lost-writes")
@click.option("--tries", type=click.IntRange(1), default=20, show_default=True, help="How many pairs of each kind.")
@binary_option
@_as_json
@_as_markdown
def lost_writes(name: str, tries: int, as_json: bool, as_markdown: bool) -> None:
    """Count how often a real source leaves out what its guest wrote, in checkpoints and in precopy: under TCG and, for comparison, KVM.

    Exit codes: 0 it never does, 1 it does, 2 it could not be run.

    Example: colofd qemu lost-writes --tries 10
    """

    def run() -> None:
        from colofd.conformance.qemu.lost_writes import Guest, count_lost_writes  # noqa: PLC0415

        qemu = named(name)
        kinds = [("tcg", each) for each in Guest] + [("kvm", each) for each in (Guest.ALWAYS, Guest.IN_PRECOPY)] * has_kvm()
        counted = [count_lost_writes(qemu, accelerator, guest, tries, _progress) for accelerator, guest in kinds]
        section = lambda: interop_page.lost_writes_section(counted)  # noqa: E731
        _print(counted, section, interop_page.lost_writes_text(counted), as_json=as_json, as_markdown=as_markdown)
        sys.exit(0 if all(each.is_lossless for each in counted) else 1)

    _needing_qemu(run)
