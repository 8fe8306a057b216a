"""The commands `colofd qemu latch` and `finding`: what was found of real QEMUs, shown again on a binary."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, Never

import click

from colofd.conformance.check_black_box import version_of
from colofd.conformance.incoming import NobodyCame
from colofd.conformance.known_deviations import Known
from colofd.conformance.qemu.provision import QemuUnavailable, named
from colofd.conformance.unknown_names import UnknownName
from colofd.spec.constants import Compression
from colofd.spec.profiles import PROFILES

_NEW: Final = "11.1"
"""The version with multifd and COLO together."""

binary_option = click.option("--qemu", "name", default=_NEW, show_default=True, metavar="VERSION|PATH", help="Which QEMU.")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")


@click.command()
@binary_option
@click.option("--tries", default=10, show_default=True, type=click.IntRange(1), help="Failovers.")
@click.option("--held/--race", "is_held", default=True, help="Hold one receive thread by ptrace (needs no symbols); or hold nobody.")
@click.option("--yank", "yanks", is_flag=True, help="Shut the connections down first.")
@click.option("--compression", default=Compression.NONE.value, show_default=True, type=click.Choice([each.value for each in Compression]))
@_as_json
def latch(name: str, tries: int, is_held: bool, yanks: bool, compression: str, as_json: bool) -> None:
    """Take over while pages of a checkpoint arrive, and count how often guest RAM changes (see docs/latch.md).

    Exit codes: 0 guest RAM was that of the last checkpoint each time; 1 it was not, or a failover was not answered; 2 it could not be run.

    Examples: colofd qemu latch; colofd qemu latch --race --tries 100 --yank --compression zlib
    """
    with running_qemu():
        from colofd.conformance.qemu.hold import HoldUnavailable  # noqa: PLC0415
        from colofd.conformance.qemu.latch import held, race, summary  # noqa: PLC0415

        binary = named(name)
        run = held if is_held else race
        try:
            counted = summary([run(binary, Compression(compression), yanks=yanks) for _ in range(tries)])
        except HoldUnavailable as unavailable:
            _end(str(unavailable), "allow ptrace of child processes, or use --race")
    how = f"{'one receive thread held' if is_held else 'nobody held'}, {'yank first' if yanks else 'no yank'}, {compression}"
    if as_json:
        click.echo(json.dumps({"version": binary.version, "how": how} | counted))
    else:
        text = f"QEMU {binary.version}: {how}: guest RAM changed in {counted['changed']} of {counted['failovers']} failovers"
        click.echo(f"{text}\npages changed (least, median, most): {counted['pages']}; unanswered: {counted['unanswered']}")
        if is_held:
            click.echo(f"changed while the thread was still held: {counted['changed_before_release']} of {counted['failovers']}")
    sys.exit(1 if counted["changed"] or counted["unanswered"] else 0)


@click.command()
@click.argument("ids", nargs=-1)
@binary_option
@click.option("--vector", "is_vector", is_flag=True, help="Print the streams as JSON, and run nothing.")
@_as_json
def finding(ids: tuple[str, ...], name: str, is_vector: bool, as_json: bool) -> None:
    """Put findings (all, if none is named) to a real QEMU: each is the shortest stream that shows it (see docs/findings.md).

    Exit codes: 0 none is shown, 1 at least one is, 2 it could not be run.

    Examples: colofd qemu finding; colofd qemu finding old-content --qemu 10.0; colofd qemu finding failover-deadlock --vector
    """
    with running_qemu():
        _find(ids, name, is_vector=is_vector, as_json=as_json)


def _find(ids: tuple[str, ...], name: str, *, is_vector: bool, as_json: bool) -> None:
    from colofd.conformance.qemu.findings import findings, show, vector  # noqa: PLC0415

    known = findings()
    for given in ids:
        if given not in known:
            raise UnknownName("finding", given, list(known))
    if is_vector:
        click.echo(json.dumps([vector(known[each]) for each in ids or known]))
        return
    binary = named(name)
    profile = f"qemu-{'.'.join(binary.version.split('.')[:2])}"
    askable = findings(version_of(Known(profile)) if profile in PROFILES else None)
    shown = [show(binary, askable[each]) for each in ids or known if each in askable]
    left_out = [each for each in ids or known if each not in askable]
    if as_json:
        click.echo(json.dumps({"version": binary.version, "findings": [asdict(each) for each in shown], "left_out": left_out}))
    else:
        click.echo(f"QEMU {binary.version}")
        for each in shown:
            click.echo(f"  {each.id:20} {'SHOWN' if each.is_shown else 'not shown':9}  {each.rule}: {each.seen}")
        for missing in left_out:
            click.echo(f"  {missing:20} left out   {profile} has not what it is about (see `colofd profiles show {profile}`)")
    if not shown:
        sys.exit(2)
    sys.exit(1 if any(each.is_shown for each in shown) else 0)


@contextmanager
def running_qemu() -> Iterator[None]:
    """Where real QEMUs are run: one that cannot be had, or does not do what it is told, ends the command with 2, and says so."""
    try:
        # Only here, for the package qemu.qmp is an extra.
        from colofd.conformance.qemu.machine import QemuFailed  # noqa: PLC0415

        try:
            yield
        except (QemuFailed, NobodyCame) as error:
            _end(
                f"QEMU does not do what it is told: {error}",
                "its build must have migration and replication, and the machine time for it",
            )
    except QemuUnavailable as error:
        _end(str(error), "`colofd qemu list` says which versions there are")


def _end(what: str, hint: str) -> Never:
    click.echo(f"colofd: {what}\nhint: {hint}", err=True)
    sys.exit(2)
