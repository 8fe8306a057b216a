"""The commands `colofd qemu standby-trials` and `standby-costs`."""

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get

NEW: Final = "11.1"
"""The version with multifd and COLO together."""


def accelerator() -> str:
    """Return the better accelerator that is here: under TCG a primary leaves out what its guest writes, see docs/findings.md."""
    return "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg"


@click.command("standby-trials")
@click.option("--trials", "count", type=click.IntRange(1), default=200, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the moments.")
@click.option("--accelerator", "wanted", type=click.Choice(["kvm", "tcg"]), help="[default: kvm, where it can be had]")
@click.option("--json", "as_json", is_flag=True, help="JSON in place of text.")
def standby_trials(count: int, seed: int, wanted: str | None, as_json: bool) -> None:
    """Kill real primaries and standbys at random moments, or cut their line, and go on from the store: nothing may be torn or lost.

    The guest counts and checks its own memory. What the primary had at each answer is noted at the primary itself.

    Exit codes: 0 nothing is torn or lost, 1 something is, 2 it could not be run.

    Example: colofd qemu standby-trials --trials 20
    """
    qemu = _qemu()
    # Only here, for the package qemu.qmp is an extra.
    from colofd.conformance.qemu import standby_trials as trials  # noqa: PLC0415

    begin = time.monotonic()
    done = list(trials.standby_trials(qemu, wanted or accelerator(), count, seed, _progress))
    _progress("")
    if as_json:
        click.echo(json.dumps([asdict(each) for each in done], indent=1))
    else:
        click.echo(f"QEMU {qemu.version}, {wanted or accelerator()}, {time.monotonic() - begin:.0f} s\n\n{trials.table(done)}")
        for each in done:
            if each.wrong:
                click.echo(f"{each.end} after {each.seconds:.3f} s, {each.channels} channels {each.compression}: {each.wrong}")
    sys.exit(1 if any(each.wrong for each in done) else 0)


@click.command("standby-costs")
@click.option("--memory", type=click.IntRange(16), default=256, show_default=True, help="MiB of RAM of the guest.")
@click.option("--checkpoints", type=click.IntRange(1), default=20, show_default=True, help="Of each pair.")
@click.option(
    "--store",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder on the disk to ask. [default: that of temporary files]",
)
@click.option("--json", "as_json", is_flag=True, help="JSON in place of text.")
def standby_costs(memory: int, checkpoints: int, store: Path | None, as_json: bool) -> None:
    """Compare a standby with QEMU's own secondary: pause of the primary, memory and CPU, with 1, 10 and 50 % of RAM dirty.

    Exit codes: 0 it was run, 2 it could not be.

    Example: colofd qemu standby-costs
    """
    qemu = _qemu()
    # Only here, for the package qemu.qmp is an extra.
    from colofd.conformance.qemu import standby_costs as costs  # noqa: PLC0415

    done = list(costs.standby_costs(qemu, memory << 20, checkpoints, store or Path(tempfile.gettempdir()), _progress))
    _progress("")
    head = f"QEMU {qemu.version}, {memory} MiB of RAM, {checkpoints} checkpoints each, {os.cpu_count()} cores\n\n"
    click.echo(costs.costs_json(done) if as_json else head + costs.costs_table(done))


def _qemu() -> Qemu:
    try:
        return get(NEW, _progress)
    except QemuUnavailable as error:
        _progress("")
        click.echo(f"colofd: {error}\nhint: `colofd qemu list` says which versions there are", err=True)
        sys.exit(2)


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{what}", nl=False, err=True)
