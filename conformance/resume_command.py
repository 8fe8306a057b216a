"""The command `colofd resume`."""

import sys
import time
from pathlib import Path

import click

from colofd.conformance.resumption import NotResumed, Resumed
from colofd.impl.store import StoreError, open_store


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("command", nargs=-1, required=True, metavar="-- QEMU ARGUMENTS...")
@click.option("--checkpoint", type=click.IntRange(0), help="Which one. [default: the last]")
@click.option("--paused", is_flag=True, help="Do not let the guest run, as with QEMU's -S.")
@click.option("--patience", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds that QEMU may take.")
def resume(store: Path, command: tuple[str, ...], checkpoint: int | None, paused: bool, patience: float) -> None:
    """Start a QEMU from a checkpoint that `colofd standby` has kept; its guest goes on from that very state.

    COMMAND is the program and its arguments: those of the primary, as for a migration's destination, without -incoming. The checkpoint goes
    to it as an ordinary migration, each page checked before it is sent. Waits until QEMU ends; the store is free as soon as it runs.

    Exit codes: 0 QEMU ran, and ended with 0; 1 it did not take the checkpoint, or ended otherwise; 2 it could not be run.

    Example: colofd resume /var/lib/colofd/guest -- qemu-system-x86_64 -M pc-q35-11.1 -m 4G -accel kvm -drive file=disk.qcow2
    """
    is_paused = paused or "-S" in command
    try:
        with open_store(store) as opened:
            reader = opened.checkpoint(checkpoint)
            began = time.monotonic()
            with reader:
                started = Resumed(command, patience)
                try:
                    started.load(reader)
                    if not is_paused:
                        started.run()
                except BaseException:
                    started.close()
                    raise
    except NotResumed as error:
        click.echo(f"colofd: {error}\nhint: give the arguments that the primary had", err=True)
        sys.exit(1)
    except StoreError as error:
        click.echo(f"colofd: {error}\nhint: `colofd store list {store}` shows what is there", err=True)
        sys.exit(2)
    click.echo(f"the guest {'is loaded' if is_paused else 'runs'} {time.monotonic() - began:.2f} s after the start of QEMU", err=True)
    with started:
        sys.exit(1 if started.process.wait() else 0)
