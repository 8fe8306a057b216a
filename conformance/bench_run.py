"""Runs of a benchmark: the sender in C, and a receiver, each in a process of its own."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, Self

from colofd.conformance.bench_plan import SOURCE_PAGES, Clock, Load, Plan, digest

SECONDS: Final = 120.0
"""Longer than any run takes; one that takes longer has failed."""

COMPILER_OPTIONS: Final = ("-O3", "-march=native", "-pthread")

Who = Literal["reference", "ours"]


class BenchError(Exception):
    """A benchmark cannot be run, or a run is wrong: there is no number to give."""


@dataclass(frozen=True)
class Setup:
    """How receivers are set up. What only one of them can choose, the other one does not look at.

    Attributes:
        transport: of all channels, on one machine.
        mirror: with COLO.
        flush_threads: of the reference; ours decides by itself.
        prealloc: whether memory is resident before the clock runs.
    """

    transport: Literal["tcp", "unix"] = "tcp"
    mirror: Literal["packet", "deferred"] = "packet"
    flush_threads: int = 1
    prealloc: bool = True


@dataclass(frozen=True)
class Run:
    """One run: the sender's clocks, in order, and what it has cost the receiver."""

    clocks: Sequence[tuple[Clock, float]]
    cpu_seconds: float
    peak_kib: int

    def spans(self, begin: Clock, end: Clock) -> list[float]:
        """Return the seconds from each `begin` to the next `end`."""
        starts = [at for label, at in self.clocks if label is begin]
        ends = [at for label, at in self.clocks if label is end]
        return [stop - start for start, stop in zip(starts, ends, strict=True)]


class Workshop:
    """A temporary folder with the compiled reference. A context manager. Raises BenchError if there is no C compiler, or it fails."""

    def __init__(self, compiler: str = "cc") -> None:
        self._folders = contextlib.ExitStack()
        self.folder = Path(self._folders.enter_context(tempfile.TemporaryDirectory(prefix="colofd-bench-")))
        self._runs = 0
        try:
            self.program = self._compile(compiler)
        except BaseException:
            self._folders.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._folders.close()

    def _compile(self, compiler: str) -> Path:
        found = shutil.which(compiler)
        if found is None:
            raise BenchError(f"there is no C compiler `{compiler}`: the reference in C cannot be built")
        program = self.folder / "bench_reference"
        with resources.as_file(resources.files("colofd.conformance") / "bench_reference.c") as text:
            finished = subprocess.run(  # noqa: S603  # the compiler that the user has
                [found, *COMPILER_OPTIONS, text, "-o", program], capture_output=True, text=True, check=False, timeout=SECONDS
            )
        if finished.returncode:
            raise BenchError(f"`{compiler}` does not compile the reference:\n{finished.stderr}")
        return program

    def output_of(self, arguments: Sequence[object]) -> dict[str, Any]:
        """Run a process that prints one JSON object, and return it. Raises BenchError."""
        with _process(arguments) as process:
            text, _ = process.communicate(timeout=SECONDS)
        return _object(text, process.returncode)

    def reference(self, *arguments: object) -> list[object]:
        """Return the command that runs the reference."""
        return [self.program, *arguments]


def ours(what: str, **given: object) -> list[object]:
    """Return the command that runs ours."""
    return [sys.executable, "-m", "colofd.conformance.bench_receiver", json.dumps({"what": what, **given})]


class Bench:
    """One load, to be received any number of times."""

    def __init__(self, workshop: Workshop, load: Load) -> None:
        self._workshop = workshop
        self._load = load
        self._plan = Plan(load)
        self._folder = Path(tempfile.mkdtemp(dir=workshop.folder))
        self._plan.write(self._folder)
        self._runs = 0

    def payloads(self) -> tuple[Path, list[int]]:
        """Return a file of all compressed payloads, one after the other, and their sizes."""
        path = self._folder / "payloads"
        path.write_bytes(b"".join(self._plan.payloads))
        return path, [len(each) for each in self._plan.payloads]

    def run(self, who: Who, setup: Setup) -> Run:
        """Let one receiver receive the load. Raises BenchError if it fails, or its RAM is not what was sent."""
        with _process(self._receiver(who, setup)) as receiver:
            clocks = self.send(_line(receiver))
            text, _ = receiver.communicate(timeout=SECONDS)
        result = _object(text, receiver.returncode)
        self._check(who, result)
        return Run(clocks, result["cpu_seconds"], result["peak_kib"])

    def send(self, address: str) -> list[tuple[Clock, float]]:
        """Send the load to whoever listens there; return the sender's clocks. Raises BenchError."""
        with _process(self._workshop.reference("send", self._folder, address, self._load.channels, SOURCE_PAGES)) as sending:
            clocks, _ = sending.communicate(timeout=SECONDS)
        if sending.returncode:
            raise BenchError(f"the sender ended with {sending.returncode}")
        return _clocks(clocks)

    def expected(self, pages: int) -> int:
        """Return the digest of the first pages of RAM, as they were sent."""
        return digest(self._plan.landed[:pages])

    def _check(self, who: Who, result: Mapping[str, int]) -> None:
        if self._plan.payloads:
            return
        expected = digest(self._plan.landed)
        if result["guest"] != expected or (self._load.colo and result["cache"] != expected):
            raise BenchError(f"{who}: RAM is not what was sent; the run is worth nothing")

    def _receiver(self, who: Who, setup: Setup) -> list[object]:
        self._runs += 1
        address = "tcp:127.0.0.1:0" if setup.transport == "tcp" else f"unix:{self._folder}/s{self._runs}"
        load, is_deferred = self._load, setup.mirror == "deferred"
        if who == "reference":
            flags = int(load.colo), int(not is_deferred), setup.flush_threads, int(setup.prealloc)
            return self._workshop.reference("receive", address, load.channels, load.pages, *flags)
        given = {"pages": load.pages, "channels": load.channels, "colo": load.colo, "compression": load.compression}
        return ours("receive", address=address, mirror=setup.mirror, prealloc=setup.prealloc, **given)


def _clocks(text: str) -> list[tuple[Clock, float]]:
    lines = [line.split() for line in text.splitlines()]
    return [(Clock(int(label)), float(at)) for label, at in lines]


@contextlib.contextmanager
def _process(arguments: Sequence[object]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(  # noqa: S603  # our own programs
        [str(each) for each in arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"a run took longer than {SECONDS:.0f} s") from error
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _line(process: "subprocess.Popen[str]") -> str:
    line = process.stdout.readline().strip() if process.stdout else ""
    if not line:
        raise BenchError("a receiver ended before it listened")
    return line


def _object(text: str, code: int) -> dict[str, Any]:
    if code or not text:
        raise BenchError(f"a receiver ended with {code}")
    result: dict[str, Any] = json.loads(text.splitlines()[-1])
    return result
