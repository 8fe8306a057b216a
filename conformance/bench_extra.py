"""What a benchmark says beside the rows: how long a checkpoint takes, and how cost grows. No musts."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from colofd.conformance.bench_plan import Clock, Load
from colofd.conformance.bench_run import Bench, Run, Setup, Who, Workshop
from colofd.spec.constants import TARGET_PAGE_SIZE

MEBIBYTE: Final = 1 << 20
CHECKPOINTS: Final = 100
DIRTY: Final = (32 * MEBIBYTE) // TARGET_PAGE_SIZE
CHANNELS: Final = (0, 1, 2, 4)


def latencies(workshop: Workshop) -> Iterator[dict[str, Any]]:
    """Yield for each number of channels how long checkpoints of 32 MiB take, from the request: p50 and p99, in milliseconds.

    With 0 channels, pages go on the main channel. The first checkpoint is left out: memory gets warm with it.
    """
    for channels in CHANNELS:
        bench = Bench(workshop, Load(8 * DIRTY, channels, colo=True, rounds=1, checkpoints=CHECKPOINTS + 1, dirty=DIRTY))
        for who in _BOTH:
            run = bench.run(who, Setup("tcp", flush_threads=2))
            yield {
                "channels": channels,
                "who": who,
                "received": _percentiles(run, Clock.RECEIVED),
                "committed": _percentiles(run, Clock.COMMITTED),
            }


_BOTH: Final[tuple[Who, Who]] = ("reference", "ours")


def _percentiles(run: Run, end: Clock) -> dict[str, float]:
    milliseconds = np.array(run.spans(Clock.REQUESTED, end)[1:]) * 1e3
    return {f"p{percent}": round(float(np.percentile(milliseconds, percent)), 2) for percent in (50, 99)}


def latency_lines(found: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of latencies."""
    yield f"{'channels':10}{'who':10} {'received p50':>13} {'p99':>7} {'committed p50':>14} {'p99':>7}   ms from the request, 32 MiB dirty"
    for each in found:
        received, committed = each["received"], each["committed"]
        name = each["channels"] or "main only"
        yield f"{name!s:10}{each['who']:10} {received['p50']:13} {received['p99']:7} {committed['p50']:14} {committed['p99']:7}"


def scaling(workshop: Workshop, most_mebibytes: int) -> Iterator[dict[str, Any]]:
    """Yield how cost grows with RAM (up to `most_mebibytes`, 64 MiB of it sent), with channels, and with the share of dirty pages."""
    sent = 64 * MEBIBYTE // TARGET_PAGE_SIZE
    mebibytes = 64
    while mebibytes <= most_mebibytes:
        pages = mebibytes * MEBIBYTE // TARGET_PAGE_SIZE
        load = Load(pages, 2, rounds=0, colo=True, checkpoints=2, dirty=sent)
        yield _point("ram_mebibytes", mebibytes, load, Bench(workshop, load).run("ours", Setup("unix", prealloc=False)))
        mebibytes *= 2
    for channels in (1, 2, 4, 8, 16, 32, 64):
        load = Load(4 * sent, channels, rounds=0, colo=True, checkpoints=2, dirty=4 * sent)
        yield _point("channels", channels, load, Bench(workshop, load).run("ours", Setup("unix")))
    for percent in (1, 10, 25, 50, 100):
        load = Load(4 * sent, 2, rounds=0, colo=True, checkpoints=2, dirty=4 * sent * percent // 100)
        yield _point("dirty_percent", percent, load, Bench(workshop, load).run("ours", Setup("unix")))


def _point(what: str, value: int, load: Load, run: Run) -> dict[str, Any]:
    received, committed = (run.spans(Clock.REQUESTED, end)[-1] * 1e3 for end in (Clock.RECEIVED, Clock.COMMITTED))
    figures = {"received_ms": round(received, 2), "committed_ms": round(committed, 2), "peak_mebibytes": run.peak_kib >> 10}
    return {what: value, "dirty_mebibytes": load.dirty * TARGET_PAGE_SIZE // MEBIBYTE, **figures}


def scaling_lines(found: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"{'what':24} {'dirty MiB':>9} {'received ms':>12} {'committed ms':>13} {'peak MiB':>9}"
    for each in found:
        (what, value), *rest = each.items()
        dirty, received, committed, peak = (figure for _, figure in rest)
        yield f"{what + ' ' + str(value):24} {dirty:9} {received:12} {committed:13} {peak:9}"
