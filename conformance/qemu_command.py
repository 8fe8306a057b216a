"""The command `colofd qemu`."""

import json
import sys

import click

from colofd.conformance.findings_commands import finding, latch
from colofd.conformance.interop_commands import checkpoints, failover, isolation, lost_writes, matrix, traces
from colofd.conformance.qemu.provision import VERSIONS, Qemu, QemuUnavailable, find, get
from colofd.conformance.qemu_standby_command import standby_costs, standby_trials


@click.group()
def qemu() -> None:
    """Have real QEMUs to compare with, beside the host and without changing it.

    Exit codes: 0 it is there, or it holds; 1 something was found; 2 it could not be had or run.
    """


@qemu.command("get")
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the program's path.")
def get_qemu(version: str, as_json: bool) -> None:
    """Provision a QEMU from Debian's packages into the cache folder, and print the path of its program.

    Done before: nothing is fetched. Exit codes: 0 it is there, 2 it cannot be had.

    Example: colofd qemu get 11.1
    """
    try:
        found = get(version, _show_progress)
    except QemuUnavailable as error:
        _show_progress("")
        click.echo(f"colofd: {error}\nhint: versions are {', '.join(VERSIONS)}; all else takes the path of a program, too", err=True)
        sys.exit(2)
    _show_progress("")
    click.echo(json.dumps(_json(found)) if as_json else str(found.program))


@qemu.command("list")
def list_qemus() -> None:
    """Say which versions there are, and which of them are provisioned.

    Example: colofd qemu list
    """
    for version in VERSIONS:
        found = find(version)
        click.echo(f"{version:5} {'not here: colofd qemu get ' + version if found is None else f'{found.version}, {found.program}'}")


def _json(found: Qemu) -> dict[str, str]:
    return {"version": found.version, "program": str(found.program)}


def _show_progress(what: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{what}", nl=False, err=True)


for _command in (matrix, checkpoints, traces, failover, isolation, lost_writes, latch, finding, standby_trials, standby_costs):
    qemu.add_command(_command)
