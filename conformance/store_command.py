"""The commands `colofd store list`, `verify` and `export`."""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from colofd.conformance.power_cuts_command import cut_power
from colofd.impl.store import CheckpointReader, OpenedStore, Saved, StoreDamaged, StoreError, open_store

MEBIBYTE: Final = 1 << 20

_store = click.argument("path", metavar="STORE", type=click.Path(path_type=Path))


@click.group()
def store() -> None:
    """Look into the store of a standby.

    Exit codes: 0 all is well; 1 a checkpoint is damaged; 2 it is no store, or in use.
    """


@store.command(name="list")
@_store
@click.option("--json", "as_json", is_flag=True, help="JSON in place of text.")
def list_checkpoints(path: Path, as_json: bool) -> None:
    """List the checkpoints that QEMU can be started from. Works while a standby runs, too.

    Exit codes: 0 all is well; 1 a checkpoint is damaged; 2 it is no store.

    Example: colofd store list /var/lib/colofd/guest
    """
    with _opened(path, is_locked=False) as opened:
        identity, saved = opened.identity, opened.saved
    if as_json:
        click.echo(json.dumps({**asdict(identity), "checkpoints": [asdict(each) for each in saved]}, indent=2))
    else:
        ram = sum(block.length for block in identity.blocks)
        click.echo(f"{identity.machine}, {ram / MEBIBYTE:.0f} MiB of RAM in {len(identity.blocks)} blocks")
        for each in saved:
            click.echo(_line(each))
        if not saved:
            click.echo("no checkpoint")
    sys.exit(1 if any(each.damage for each in saved) else 0)


def _line(each: Saved) -> str:
    if each.damage:
        return f"checkpoint {each.id.index}: {each.damage}"
    age = time.time() - each.time
    return f"checkpoint {each.id.index}: {age:.1f} s old, {each.pages} pages differ, {each.size / MEBIBYTE:.1f} MiB"


@store.command()
@_store
def verify(path: Path) -> None:
    """Read every page of every checkpoint, and compare its checksum. No standby may run on the store.

    Exit codes: 0 all is as it was written; 1 something is damaged; 2 it is no store, or in use.

    Example: colofd store verify /var/lib/colofd/guest
    """
    is_damaged = False
    with _opened(path) as opened:
        for each in opened.saved:
            try:
                with opened.checkpoint(each.id.index) as reader:
                    pages = sum(len(rows) for _, rows in reader.pages())
                click.echo(f"checkpoint {each.id.index}: {pages} pages are as they were written")
            except (StoreDamaged, OSError) as error:
                is_damaged = True
                click.echo(f"checkpoint {each.id.index}: {error}")
    sys.exit(1 if is_damaged else 0)


@store.command()
@_store
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--checkpoint", type=click.IntRange(0), help="Which one. [default: the last]")
def export(path: Path, folder: Path, checkpoint: int | None) -> None:
    """Write a checkpoint into a new folder: a file of raw RAM for each block, and the device state (FULL sections, and EOF).

    Exit codes: 0 it is written; 1 it is damaged; 2 it is no store, or in use.

    Example: colofd store export /var/lib/colofd/guest out
    """
    try:
        with _opened(path) as opened, opened.checkpoint(checkpoint) as reader:
            folder.mkdir(mode=0o700)
            names = _export(reader, folder)
    except StoreDamaged as error:
        click.echo(f"colofd: {error}\nhint: `colofd store verify {path}` says which checkpoints are whole", err=True)
        sys.exit(1)
    except StoreError as error:
        _refuse(error)
    for name in names:
        click.echo(folder / name)


def _export(reader: CheckpointReader, folder: Path) -> list[str]:
    """Write the files; return their names. The names of blocks have slashes."""
    identity = reader.identity
    layout = identity.layout
    names = {block.name: f"{block.name.strip('/').replace('/', '_')}.ram" for block in identity.blocks}
    files = {name: os.open(folder / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600) for name, file in names.items()}
    try:
        for first, rows in reader.pages():
            for name, file in files.items():
                its = layout.pages_of(name)
                begin, end = max(first, its.start), min(first + len(rows), its.stop)
                if begin < end:
                    os.pwrite(file, rows[begin - first : end - first].data, (begin - its.start) * identity.page_size)
    finally:
        for file in files.values():
            os.close(file)
    device = os.open(folder / "device-state", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(device, "wb") as written:
        written.write(reader.device_state)
    return [*names.values(), "device-state"]


def _opened(path: Path, *, is_locked: bool = True) -> OpenedStore:
    try:
        return open_store(path, is_locked=is_locked)
    except StoreError as error:
        _refuse(error)
        raise


def _refuse(error: StoreError) -> None:
    click.echo(f"colofd: {error}\nhint: `colofd standby --help` says how a store is made", err=True)
    sys.exit(2)


store.add_command(cut_power)
