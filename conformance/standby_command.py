"""The command `colofd standby`."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from colofd.conformance.incoming import Incoming, NobodyCame, Source
from colofd.conformance.standby import Committed, Ended, Wanted, stand_by
from colofd.impl import Destination
from colofd.impl.store import StoreError, claim_for_writing
from colofd.model.decode import Context
from colofd.spec.constants import Compression
from colofd.spec.reasons import Rejected

MEBIBYTE: Final = 1 << 20


@click.command()
@click.argument("uri")
@click.option("--store", required=True, type=click.Path(path_type=Path), help="Folder of the store; it is made if it is not there.")
@click.option("--keep", type=click.IntRange(1), default=1, show_default=True, help="How many checkpoints stay in the store.")
@click.option("--channels", type=click.IntRange(0, 255), default=0, show_default=True, help="Number of multifd channels.")
@click.option("--compression", type=click.Choice([each.value for each in Compression]), default="none", show_default=True)
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Append a line of JSON for each commit to this file.")
@click.option("--patience", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds to wait for a primary.")
def standby(uri: str, store: Path, keep: int, channels: int, compression: str, log: Path | None, patience: float) -> None:
    """Be the COLO secondary of a QEMU without a second VM: keep its last checkpoints in a folder, from which `colofd resume` goes on.

    URI is unix:PATH or tcp:HOST:PORT, where the primary migrates to, with x-colo and return-path on. A checkpoint is on the disk before it
    is answered, and the primary lets output go after that; what is not answered was not seen by anybody. Ends when the primary is gone.

    Exit codes: 0 the primary is gone, and its last checkpoint is in the store; 1 replication has stopped for another reason, with the last
    checkpoint intact, or there is none; 2 it could not be run.

    Example: colofd standby tcp:0.0.0.0:4444 --store /var/lib/colofd/guest
    """
    wanted = Wanted(channels, Compression(compression), keep, log, patience)
    try:
        with claim_for_writing(store) as claim, Incoming(uri) as incoming:
            click.echo(f"waiting on {incoming.address}", err=True)
            source = incoming.source(Context(channels=channels, compression=wanted.compression, colo=True), patience)
            _require_memory(source)
            ended = stand_by(incoming, source, claim, wanted, _shown())
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URI") from error
    except NobodyCame as error:
        click.echo(f"colofd: {error}\nhint: give --channels as the primary has them", err=True)
        sys.exit(2)
    except StoreError as error:
        click.echo(f"colofd: {error}\nhint: `colofd store list {store}` shows what is there", err=True)
        sys.exit(2)
    except Rejected as rejected:
        click.echo(f"colofd: the primary's stream was refused before the first checkpoint: {rejected}", err=True)
        sys.exit(1)
    _report(ended, store)


def _report(ended: Ended, store: Path) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    if ended.last is None:
        click.echo(f"replication has stopped without a checkpoint: {ended.why}")
    else:
        kept = ended.last.kept
        click.echo(
            f"{'the primary is gone' if ended.is_ordinary else 'replication has stopped'}: {ended.why}\n"
            f"checkpoint {kept.id.index} is in {store}, {time.time() - kept.time:.1f} s old: colofd resume {store} -- QEMU ARGUMENTS"
        )
    sys.exit(0 if ended.is_ordinary else 1)


def _require_memory(source: Source) -> None:
    needed = sum(length for _, length in source.blocks)
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > available:
        click.echo(f"colofd: the primary has {needed} bytes of RAM, and there are {available} here\nhint: a machine with more", err=True)
        sys.exit(2)


def _shown() -> Callable[[Destination, Committed | None], None]:
    """Return what shows on a terminal how it goes."""
    before = {"bytes": 0, "time": time.monotonic()}

    def show(destination: Destination, last: Committed | None) -> None:
        if not sys.stderr.isatty():
            return
        count, now = sum(destination.consumed().values()), time.monotonic()
        rate = (count - before["bytes"]) / max(now - before["time"], 1e-3) / MEBIBYTE
        before.update(bytes=count, time=now)
        click.echo(f"\r\x1b[K{live_line(str(destination.phase), last, rate, time.time())}", nl=False, err=True)

    return show


def live_line(phase: str, last: Committed | None, rate: float, now: float) -> str:
    """Return one line about how it goes: the phase, the last checkpoint, and MiB received per second; `now` is in seconds since 1970."""
    if last is None:
        return f"{phase}: no checkpoint yet, {rate:.1f} MiB/s"
    kept, pause = last.kept, last.pause_seconds * 1000
    return (
        f"{phase}: checkpoint {kept.id.index} is {now - kept.time:.1f} s old, {kept.normal_pages + kept.zero_pages} dirty pages, "
        f"{kept.record_bytes / MEBIBYTE:.1f} MiB durable in {kept.seconds * 1000:.1f} ms, pause {pause:.1f} ms, {rate:.1f} MiB/s"
    )
