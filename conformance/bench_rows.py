"""The rows of `colofd bench`: what is compared with what, and what ratio is asked for."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from colofd.conformance.bench_plan import Clock, Load
from colofd.conformance.bench_run import Bench, BenchError, Setup, Who, Workshop, ours
from colofd.spec.constants import TARGET_PAGE_SIZE, Compression

GIBIBYTE: Final = 1 << 30
PAGES: Final = (256 << 20) // TARGET_PAGE_SIZE
MOST_SPREAD: Final = 0.15
"""Spread of the control from which on a row has no number."""
ATTEMPTS: Final = 3
"""How often a row is measured while its control does not settle. Ours has no say in that."""


@dataclass(frozen=True)
class Sample:
    """One run: seconds on the clock, CPU seconds and most memory (KiB) of the receiver, for so many bytes of pages."""

    seconds: float
    cpu_seconds: float
    peak_kib: int
    size: int


Runner = Callable[[], Sample]


@dataclass(frozen=True)
class Row:
    """A comparison. The ratio is seconds of the reference by seconds of ours: 1 is as fast, 2 is twice as fast.

    Attributes:
        what: in a few words.
        must: the ratio that a release has; `aim`: the one that is wanted.
        prepare: makes the runners: of the reference, and of ours.
    """

    name: str
    what: str
    must: float
    aim: float
    prepare: Callable[[Workshop], tuple[Runner, Runner]]


class Verdict(StrEnum):
    """What a row says."""

    AIM = "meets the aim"
    MUST = "meets the must"
    MISSED = "missed"
    NOISE = "could not measure"


@dataclass(frozen=True)
class Result:
    """A row that was measured.

    Attributes:
        ratios: one for each round: the mean of the reference before and after ours, by ours.
        controls: the reference before ours, by the reference after it.
    """

    row: Row
    ratios: Sequence[float]
    controls: Sequence[float]
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def control_spread(self) -> float:
        """How far the middle half of the controls reaches: the distance of their quartiles."""
        return spread(self.controls)

    @property
    def verdict(self) -> Verdict:
        """What the row says."""
        if self.control_spread > MOST_SPREAD:
            return Verdict.NOISE
        return Verdict.AIM if self.ratio >= self.row.aim else Verdict.MUST if self.ratio >= self.row.must else Verdict.MISSED

    def cpu_seconds_per_gib(self, who: str) -> float:
        """Return the median of CPU seconds for a GiB of pages."""
        return statistics.median(each.cpu_seconds * GIBIBYTE / each.size for each in self.samples[who])

    def gigabytes_per_second(self, who: str) -> float:
        """Return the median rate, 10^9 bytes of pages a second."""
        return statistics.median(each.size / each.seconds / 1e9 for each in self.samples[who])

    def peak_kib(self, who: str) -> int:
        """Return the most memory of any run."""
        return max(each.peak_kib for each in self.samples[who])


def spread(values: Sequence[float]) -> float:
    """Return the distance of the quartiles; of fewer than 3 values, the distance of the outermost."""
    if len(values) < 3:
        return max(values) - min(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def measure(row: Row, workshop: Workshop, rounds: int) -> Result:
    """Measure a row, again if its control does not settle. Raises BenchError."""
    reference, mine = row.prepare(workshop)
    for _ in range(ATTEMPTS):
        before, between, after = zip(*((reference(), mine(), reference()) for _ in range(rounds)), strict=True)
        result = Result(
            row,
            [(first.seconds + last.seconds) / 2 / own.seconds for first, own, last in zip(before, between, after, strict=True)],
            [first.seconds / last.seconds for first, last in zip(before, after, strict=True)],
            {"reference": [*before, *after], "ours": between},
        )
        if result.verdict is not Verdict.NOISE:
            break
    return result


def exit_code(results: Sequence[Result]) -> int:
    """Return 1 if a must is missed, else 2 if a row could not be measured, else 0."""
    verdicts = {result.verdict for result in results}
    return 1 if Verdict.MISSED in verdicts else 2 if Verdict.NOISE in verdicts else 0


def received(bench: Bench, who: Who, setup: Setup, clocks: tuple[Clock, Clock], size: int) -> Runner:
    """Return the runner of a receiver: seconds between two clocks, added up."""

    def run() -> Sample:
        done = bench.run(who, setup)
        return Sample(sum(done.spans(*clocks)), done.cpu_seconds, done.peak_kib, size)

    return run


PRECOPY: Final = (Clock.BEGIN, Clock.END)
CHECKPOINT: Final = (Clock.REQUESTED, Clock.RECEIVED)
FLUSH: Final = (Clock.RECEIVED, Clock.COMMITTED)


def _receive(load: Load, setup: Setup, clocks: tuple[Clock, Clock] = PRECOPY) -> Callable[[Workshop], tuple[Runner, Runner]]:
    size = load.precopy_bytes if clocks == PRECOPY else load.checkpoint_bytes

    def prepare(workshop: Workshop) -> tuple[Runner, Runner]:
        bench = Bench(workshop, load)
        return received(bench, "reference", setup, clocks, size), received(bench, "ours", setup, clocks, size)

    return prepare


def _deferred(load: Load) -> Callable[[Workshop], tuple[Runner, Runner]]:
    def prepare(workshop: Workshop) -> tuple[Runner, Runner]:
        bench = Bench(workshop, load)
        by_packet = received(bench, "ours", Setup("unix"), PRECOPY, load.precopy_bytes)
        return by_packet, received(bench, "ours", Setup("unix", mirror="deferred"), PRECOPY, load.precopy_bytes)

    return prepare


def _codec(compression: Compression, mebibytes: int) -> Callable[[Workshop], tuple[Runner, Runner]]:
    load = Load((mebibytes << 20) // TARGET_PAGE_SIZE, 1, compression=compression)

    def prepare(workshop: Workshop) -> tuple[Runner, Runner]:
        bench = Bench(workshop, load)
        path, sizes = bench.payloads()
        command = ours("inflate", compression=compression, payloads=str(path), sizes=sizes)
        mine = received(bench, "ours", Setup("unix"), PRECOPY, load.precopy_bytes)
        return lambda: _sample(workshop.output_of(command), load.precopy_bytes), mine

    return prepare


def _zeros(kind: int) -> Callable[[Workshop], tuple[Runner, Runner]]:
    # So often that a run takes a tenth of a second, at least: of most pages, one word says enough.
    pages, times = (64 << 20) // TARGET_PAGE_SIZE, 20 if kind else 400
    size = pages * times * TARGET_PAGE_SIZE

    def prepare(workshop: Workshop) -> tuple[Runner, Runner]:
        reference, mine = workshop.reference("zeros", pages, kind, times), ours("scan", pages=pages, kind=kind, times=times)
        if workshop.output_of(reference)["found"] != workshop.output_of(mine)["found"]:
            raise BenchError("the reference and ours do not find the same zero pages")
        return lambda: _sample(workshop.output_of(reference), size), lambda: _sample(workshop.output_of(mine), size)

    return prepare


def _sample(given: Mapping[str, Any], size: int) -> Sample:
    return Sample(given["seconds"], given["cpu_seconds"], given["peak_kib"], size)


def _rows() -> Iterator[Row]:
    for transport in ("tcp", "unix"):
        setup = Setup(transport)
        for channels, must, aim in ((1, 0.8, 0.95), (2, 0.7, 0.9), (4, 0.6, 0.8)):
            what = f"precopy, random pages, {channels} channels, {transport}"
            yield Row(f"random-{channels}-{transport}", what, must, aim, _receive(Load(PAGES, channels, rounds=4), setup))
        load = Load(PAGES, 1, "sequential", rounds=4)
        yield Row(f"sequential-{transport}", f"precopy, pages in order, 1 channel, {transport}", 0.8, 0.95, _receive(load, setup))
        what = f"precopy on the main channel only, {transport}"
        yield Row(f"main-only-{transport}", what, 0.7, 0.9, _receive(Load(PAGES, 0, rounds=4), setup))
        load = Load(PAGES, 2, rounds=0, colo=True, checkpoints=4, dirty=PAGES)
        what = f"checkpoint received: cache and dirty bitmap, 2 channels, {transport}"
        yield Row(f"checkpoint-{transport}", what, 0.8, 0.95, _receive(load, setup, CHECKPOINT))
        what = f"precopy with COLO, mirrored by packet, 2 channels, {transport}"
        yield Row(f"mirror-{transport}", what, 0.6, 0.85, _receive(Load(PAGES, 2, rounds=4, colo=True), setup))
    yield Row(
        "deferred",
        "deferred mirror against mirror by packet, both ours, RAM 4 times",
        1.1,
        1.3,
        _deferred(Load(PAGES, 2, rounds=4, colo=True)),
    )
    for pages, percent, threads in ((PAGES // 2, 10, 1), (PAGES * 2, 10, 2), (PAGES * 2, 50, 2), (PAGES * 2, 100, 2)):
        load = Load(pages, 2, rounds=0, colo=True, checkpoints=6, dirty=pages * percent // 100)
        what = f"flush of {percent} % dirty, device state validated before, {threads} threads"
        yield Row(f"flush-{percent}-{threads}", what, 0.8, 1.0, _receive(load, Setup("unix", flush_threads=threads), FLUSH))
    for compression, mebibytes in ((Compression.ZLIB, 96), (Compression.ZSTD, 256)):
        yield Row(compression.value, f"{compression} packets, against the codec alone", 0.75, 0.9, _codec(compression, mebibytes))
    for kind, name in enumerate(("random", "zero", "mixed")):
        yield Row(f"zero-pages-{name}", f"search for zero pages, {name} pages", 0.5, 0.7, _zeros(kind))


ROWS: Final = {row.name: row for row in _rows()}
"""All rows, by name."""
