"""The command `colofd receive`."""

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from colofd.conformance.incoming import CannotListen, Incoming, NobodyCame, Source
from colofd.conformance.recorder import Described, Recorder
from colofd.impl import Block, Commit, Deadlines, Destination
from colofd.model.decode import Context
from colofd.spec.constants import TARGET_PAGE_SIZE, Compression, Step
from colofd.spec.reasons import Rejected

_SHOWN_EVERY: Final = 0.2
GIBIBYTE: Final = 1 << 30


@dataclass
class Checkpoint:
    """A commit: 0 is the end of precopy. Pages that the primary sent for it, and how long its flush took."""

    index: int
    dirty_pages: int
    flush_milliseconds: float
    device_state_bytes: int
    sha256: dict[str, str] = field(default_factory=dict)


class _Watch:
    """Hooks of a destination: notes what is committed. They run on its threads."""

    def __init__(self, blocks: Sequence[Block], with_digests: bool, recorder: Recorder | None) -> None:
        self.checkpoints: list[Checkpoint] = []
        self.rounds = 0
        """Barriers of the multifd channels."""
        self._recorder = recorder
        self._blocks = blocks
        self._with_digests = with_digests
        self._destination: Destination | None = None
        self._dirty = 0
        self._flush_began = 0.0

    def attach(self, destination: Destination) -> None:
        self._destination = destination

    def gate(self, step: Step, _channel: str) -> None:
        self.rounds += step is Step.RELEASE
        if step is Step.FLUSH_BEGIN and self._destination is not None:
            self._dirty = sum(int(np.count_nonzero(self._destination.dirty(block.name))) for block in self._blocks)
            self._flush_began = time.perf_counter()

    def pages(self) -> int:
        """Return how many pages have come at least once; 0 where nobody keeps them: before the start, and after the end."""
        with contextlib.suppress(Rejected):
            if self._destination is not None:
                return sum(int(np.count_nonzero(self._destination.received(block.name))) for block in self._blocks)
        return 0

    def commit(self, commit: Commit) -> None:
        milliseconds = (time.perf_counter() - self._flush_began) * 1000 if commit.index else 0.0
        digests = {name: hashlib.sha256(ram.data).hexdigest() for name, ram in commit.blocks.items()} if self._with_digests else {}
        if self._recorder is not None:
            self._recorder.note_commit(hashlib.sha256(commit.blocks[_largest(self._blocks).name].data).hexdigest())
        self.checkpoints.append(Checkpoint(commit.index, self._dirty, round(milliseconds, 3), len(commit.device_state), digests))


@dataclass(frozen=True)
class Wanted:
    """The options of a migration, and when to end it: the number of checkpoints after which to take over, None: when the source ends."""

    channels: int
    colo: bool
    compression: Compression
    checkpoints: int | None
    with_digests: bool
    patience: float


@click.command()
@click.argument("address")
@click.option("--channels", type=click.IntRange(0, 255), default=0, show_default=True, help="Number of multifd channels.")
@click.option("--colo", is_flag=True, help="Be the secondary of a COLO pair: receive checkpoints until the primary is gone.")
@click.option("--compression", type=click.Choice([each.value for each in Compression]), default="none", show_default=True)
@click.option("--checkpoints", type=click.IntRange(0), help="With --colo: take over after this many checkpoints.")
@click.option("--digests", is_flag=True, help="Print the SHA-256 of each RAM block at each commit.")
@click.option("--record", metavar="DIR", type=click.Path(path_type=Path), help="Write a capture that `colofd replay DIR` takes.")
@click.option("--patience", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds to wait for a source.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def receive(
    address: str,
    channels: int,
    colo: bool,
    compression: str,
    checkpoints: int | None,
    digests: bool,
    record: Path | None,
    patience: float,
    as_json: bool,
) -> None:
    """Receive a migration from a QEMU, or checkpoints from a COLO primary, into memory.

    ADDRESS is unix:PATH or tcp:HOST:PORT. RAM blocks are as the source lists them. The secondary's guest does not run here: when the
    primary is gone, the last committed checkpoint is what is left.

    Exit codes: 0 completed, or taken over from a commit; 1 the source was refused or its stream was bad; 2 nobody came.

    Example: colofd receive tcp:localhost:4444 --channels 2, then in the source's monitor: migrate tcp:localhost:4444
    """
    wanted = Wanted(channels, colo, Compression(compression), checkpoints, digests, patience)
    context = Context(channels=channels, compression=wanted.compression, colo=colo)
    recorder = None if record is None else Recorder(record)
    try:
        with Incoming(address) as incoming:
            click.echo(f"waiting on {incoming.address}", err=True)
            report = _receive(incoming, incoming.source(context, patience), wanted, recorder)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="ADDRESS") from error
    except CannotListen as error:
        click.echo(f"colofd: {error}\nhint: give another address, or end what has this one", err=True)
        sys.exit(2)
    except NobodyCame as error:
        click.echo(f"colofd: {error}\nhint: give --channels and --colo as the source has them", err=True)
        sys.exit(2)
    except Rejected as rejected:
        report = {"phase": "failed", "error": str(rejected), "reason": rejected.reason.value}
    finally:
        if recorder is not None:
            recorder.discard()
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(_text(report)))
    sys.exit(1 if report["phase"] == "failed" else 0)


def _receive(incoming: Incoming, source: Source, wanted: Wanted, recorder: Recorder | None) -> dict[str, Any]:
    blocks = [Block(name, length) for name, length in source.blocks]
    _require_memory(sum(block.length for block in blocks) * (2 if wanted.colo else 1))
    report = _receive_into(blocks, incoming, source, wanted, recorder)
    if recorder is None:
        return report
    largest = _largest(blocks)
    described = Described(wanted.channels, wanted.compression, wanted.colo, TARGET_PAGE_SIZE, largest.name, largest.length)
    recorder.save(described, report["sha256"][largest.name] if report["phase"] == "completed" else None)
    return report | {"recorded": str(recorder.folder)}


def _largest(blocks: Sequence[Block]) -> Block:
    return max(blocks, key=lambda block: block.length)


def _receive_into(blocks: Sequence[Block], incoming: Incoming, source: Source, wanted: Wanted, recorder: Recorder | None) -> dict[str, Any]:
    watch = _Watch(blocks, wanted.with_digests, recorder)
    through = recorder.through if recorder is not None else lambda channel: channel
    begin = time.monotonic()
    with Destination(
        blocks,
        wanted.channels,
        colo=wanted.colo,
        compression=wanted.compression,
        on_commit=watch.commit,
        gate=watch.gate,
        deadlines=Deadlines(connect=wanted.patience, progress=wanted.patience, idle=max(wanted.patience, 300.0)),
    ) as destination:
        watch.attach(destination)
        for each in source.sockets:
            destination.attach(through(each))
        for _ in range(wanted.channels + 1 - len(source.sockets)):
            destination.attach(through(incoming.accept(wanted.patience)))
        error = _follow(destination, watch, wanted, begin)
        report = _report(destination, watch, time.monotonic() - begin)
        if error is not None:
            report |= {"error": str(error), "reason": error.reason.value}
        if wanted.with_digests or recorder is not None:
            report["sha256"] = {block.name: hashlib.sha256(destination.guest(block.name).data).hexdigest() for block in blocks}
        return report


def _follow(destination: Destination, watch: _Watch, wanted: Wanted, begin: float) -> Rejected | None:
    """Wait for the end, showing how far it is; with COLO, an error ends it by failover, if there is a commit. Return the error."""
    try:
        while True:
            try:
                outcome = destination.wait(_SHOWN_EVERY)
            except TimeoutError:
                _show(destination, watch, begin)
                if wanted.checkpoints is None or not watch.checkpoints or watch.checkpoints[-1].index < wanted.checkpoints:
                    continue
                destination.failover()
                outcome = destination.wait()
            return outcome.error
    except Rejected as rejected:
        if watch.checkpoints:
            destination.failover()
        return rejected
    finally:
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)


def _show(destination: Destination, watch: _Watch, begin: float) -> None:
    if sys.stderr.isatty():
        count = sum(destination.consumed().values())
        rate = count / (time.monotonic() - begin) / GIBIBYTE
        last = watch.checkpoints[-1] if watch.checkpoints else None
        committed = "" if last is None else f", commit {last.index}: {last.dirty_pages} dirty pages, flush {last.flush_milliseconds:.1f} ms"
        far = f"{watch.pages()} pages, {watch.rounds} rounds, {count / GIBIBYTE:.3f} GiB, {rate:.2f} GiB/s"
        click.echo(f"\r\x1b[K{destination.phase}: {far}{committed}", nl=False, err=True)


def _require_memory(needed: int) -> None:
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > available:
        click.echo(
            f"colofd: the source lists RAM that needs {needed} bytes here, and there are {available}\nhint: a smaller guest", err=True
        )
        sys.exit(2)


def _report(destination: Destination, watch: _Watch, seconds: float) -> dict[str, Any]:
    return {
        "phase": str(destination.phase),
        "bytes": dict(destination.consumed()),
        "seconds": round(seconds, 3),
        "rounds": watch.rounds,
        "checkpoints": [asdict(each) for each in watch.checkpoints],
    }


def _text(report: dict[str, Any]) -> Iterator[str]:
    for each in report.get("checkpoints", []):
        flush = f"flush {each['flush_milliseconds']:.1f} ms"
        yield f"commit {each['index']}: {each['dirty_pages']} dirty pages, {flush}, {_hex(each['sha256'])}"
    if "bytes" in report:
        total = sum(report["bytes"].values())
        yield f"{total} bytes in {report['seconds']} s and {report['rounds']} rounds by {len(report['bytes'])} channels: " + ", ".join(
            f"{name} {count}" for name, count in report["bytes"].items()
        )
    if "error" in report:
        yield f"ended by: {report['error']}"
    if "recorded" in report:
        yield f"recorded: colofd replay {report['recorded']}"
    yield report["phase"] + (f", {_hex(report['sha256'])}" if "sha256" in report else "")


def _hex(digests: dict[str, str]) -> str:
    return ", ".join(f"{name} {digest[:16]}" for name, digest in digests.items()) or "no digests"
