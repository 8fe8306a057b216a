"""`colofd bench`: its plumbing. How fast anything is, no test asks."""

import itertools
import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from colofd.conformance import bench_command, bench_extra, bench_rows, command
from colofd.conformance.bench_plan import Clock, Load, Plan
from colofd.conformance.bench_report import svg
from colofd.conformance.bench_rows import ROWS, Result, Row, Runner, Sample, Verdict, exit_code, measure, received, spread
from colofd.conformance.bench_run import Bench, BenchError, Setup, Workshop
from colofd.spec.constants import Compression

SIZE = 1 << 20


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    with Workshop() as made:
        yield made


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["colofd", "bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    code = ended.value.code
    assert isinstance(code, int)
    return code


def fake(ratio: float, *controls: float) -> Row:
    """Return a row whose reference takes 1 s before ours, and as long after it that the controls are these; must 0.8, aim 0.95."""

    def prepare(_workshop: Workshop) -> tuple[Runner, Runner]:
        around = itertools.cycle(seconds for control in controls for seconds in (1.0, 1 / control))
        return lambda: Sample(next(around), 0.5, 1000, SIZE), lambda: Sample(1 / ratio, 0.5, 1000, SIZE)

    return Row("fake", "a row of which all is known", 0.8, 0.95, prepare)


def with_rows(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> None:
    monkeypatch.setattr(bench_command, "ROWS", {row.name: row for row in rows})


def tiny(name: str, load: Load, clocks: tuple[Clock, Clock], setup: Setup) -> Row:
    """Return a row of the real kind, so small that it says nothing; it asks for nothing, too."""

    def prepare(workshop: Workshop) -> tuple[Runner, Runner]:
        bench = Bench(workshop, load)
        return received(bench, "reference", setup, clocks, SIZE), received(bench, "ours", setup, clocks, SIZE)

    return Row(name, "tiny", 0.0, 0.0, prepare)


def test_a_tiny_row_goes_all_the_way(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Given a tiny row, when it is measured once, then the JSON has what is promised, the plot is XML, and the exit code is 0."""
    with_rows(monkeypatch, tiny("tiny", Load(600, 2), bench_rows.PRECOPY, Setup("tcp")))
    plot = tmp_path / "plot.svg"
    assert run(monkeypatch, "--rows", "tiny", "--rounds", "1", "--json", "--svg", str(plot)) == 0
    report = json.loads(capsys.readouterr().out)
    (row,) = report["rows"]
    assert {"name", "ratio", "low", "high", "rounds", "must", "aim", "control_spread"} <= row.keys()
    assert row["low"] == row["ratio"] == row["high"] > 0, "one round, one ratio"
    assert row["rounds"] == 1
    assert row["ours_peak_kib"] > row["reference_peak_kib"] > 0
    assert report["machine"]["cores"] > 0
    assert "tiny" in "".join(ET.fromstring(plot.read_text()).itertext())  # noqa: S314  # our own plot


@pytest.mark.parametrize(
    ("load", "setup", "clocks"),
    [
        (Load(600, 0), Setup("unix"), bench_rows.PRECOPY),
        (Load(600, 4, "sequential", rounds=2, colo=True), Setup("unix"), bench_rows.PRECOPY),
        (Load(600, 1, rounds=2, colo=True), Setup("unix", mirror="deferred"), bench_rows.PRECOPY),
        (Load(600, 2, rounds=0, colo=True, checkpoints=3, dirty=200), Setup("tcp", flush_threads=2), bench_rows.CHECKPOINT),
        (Load(600, 0, rounds=1, colo=True, checkpoints=2, dirty=600), Setup("tcp", prealloc=False), bench_rows.FLUSH),
    ],
    ids=["main-only", "mirror", "deferred", "checkpoints", "checkpoints-main-only"],
)
def test_both_receivers_end_with_the_ram_that_was_sent(workshop: Workshop, load: Load, setup: Setup, clocks: tuple[Clock, Clock]) -> None:
    """Given each kind of load, when both receive it, then RAM and cache of both are what was sent (else BenchError), and clocks stand."""
    result = measure(tiny("tiny", load, clocks, setup), workshop, rounds=1)
    assert result.verdict is Verdict.AIM
    assert all(sample.seconds > 0 for samples in result.samples.values() for sample in samples)


def test_wrong_ram_is_no_number(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a load of which one page is said to be another (control), when it is received, then the run is refused."""
    bench = Bench(workshop, Load(200, 1))
    bench.run("ours", Setup())
    plan: Plan = vars(bench)["_plan"]
    monkeypatch.setattr(plan, "landed", plan.landed + 1)
    for who in ("reference", "ours"):
        with pytest.raises(BenchError, match="RAM is not what was sent"):
            bench.run(who, Setup())


@pytest.mark.parametrize("compression", [Compression.ZLIB, Compression.ZSTD])
def test_a_codec_row_runs(workshop: Workshop, compression: Compression) -> None:
    """Given compressed packets, when the codec alone inflates them, and ours receives them, then there is a ratio."""
    row = Row("codec", "tiny", 0.0, 0.0, vars(bench_rows)["_codec"](compression, 1))
    assert measure(row, workshop, rounds=1).ratio > 0


@pytest.mark.parametrize(
    ("rows", "code", "verdicts"),
    [
        ([fake(1.0, 1.0, 1.05, 0.95)], 0, ["meets the aim"]),
        ([fake(0.9, 1.0, 1.0, 1.0)], 0, ["meets the must"]),
        ([fake(0.7, 1.0, 1.0, 1.0)], 1, ["missed"]),
        ([fake(1.0, 1.5, 1.0, 0.5)], 2, ["could not measure"]),
        ([fake(0.1, 1.5, 1.0, 0.5)], 2, ["could not measure"]),
    ],
)
def test_the_exit_code_says_what_the_rows_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: Sequence[Row], code: int, verdicts: list[str]
) -> None:
    """Given rows of which all is known, when they are measured, then the exit code is theirs, and noise has no ratio."""
    with_rows(monkeypatch, *rows)
    assert run(monkeypatch, "--rounds", "3", "--json") == code
    found = json.loads(capsys.readouterr().out)["rows"]
    assert [row["verdict"] for row in found] == verdicts
    assert all((row["ratio"] is None) == (row["verdict"] == "could not measure") for row in found)
    assert run(monkeypatch, "--rounds", "3") == code
    assert all(verdict in capsys.readouterr().out for verdict in verdicts)


def test_a_missed_must_counts_more_than_noise(workshop: Workshop) -> None:
    """Given a row that is missed and one that cannot be measured, then the exit code is 1; and the plot has both."""
    results = [measure(row, workshop, 3) for row in (fake(0.5, 1.0, 1.0, 1.0), fake(1.0, 1.5, 1.0, 0.5))]
    assert exit_code(results) == 1
    assert exit_code(results[1:]) == 2
    assert exit_code([]) == 0
    assert "could not measure" in svg(results)


def test_a_noisy_row_is_measured_again(workshop: Workshop) -> None:
    """Given a control that settles in the second attempt, when the row is measured, then that attempt counts."""
    row = fake(0.9, 1.5, 1.0, 0.5, 1.0, 1.0, 1.0)
    result: Result = measure(row, workshop, 3)
    assert result.verdict is Verdict.MUST
    assert list(result.controls) == [1.0, 1.0, 1.0]


def test_the_spread_is_of_the_middle_half() -> None:
    """Given five controls with one outlier, then it does not count; with two of them, all counts."""
    assert spread([1.0, 1.0, 1.0, 1.0, 3.0]) == 0
    assert spread([1.0, 1.5]) == 0.5


@pytest.mark.parametrize(
    ("compiler", "said"), [("no-such-compiler", "there is no C compiler `no-such-compiler`"), ("false", "does not compile")]
)
def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], compiler: str, said: str) -> None:
    """Given no compiler, or one that fails, when a benchmark is asked for, then that is said, with exit code 2."""
    assert run(monkeypatch, "--compiler", compiler) == 2
    assert said in capsys.readouterr().err


def test_an_unknown_row_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a name that no row has, then the nearest ones are named, with exit code 2."""
    assert run(monkeypatch, "--rows", "randon-1-tcp") == 2
    assert "random-1-tcp" in capsys.readouterr().err


def test_all_rows_of_the_table_are_there() -> None:
    """Given the rows, then each asks for no more than it aims at."""
    assert {"random-4-unix", "main-only-tcp", "deferred", "flush-10-1", "zstd", "zero-pages-zero"} <= ROWS.keys()
    assert all(0 < row.must < row.aim for row in ROWS.values())


def test_latency_and_scaling_say_their_numbers(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given tiny sizes, when latency and scaling are measured, then each line of their tables has its numbers."""
    for name, value in (("CHECKPOINTS", 2), ("DIRTY", 16), ("CHANNELS", (0, 1))):
        monkeypatch.setattr(bench_extra, name, value)
    latency = list(bench_extra.latencies(workshop))
    assert [(each["channels"], each["who"]) for each in latency] == [(0, "reference"), (0, "ours"), (1, "reference"), (1, "ours")]
    assert all(0 < each["received"]["p50"] <= each["committed"]["p99"] for each in latency)
    assert len(list(bench_extra.latency_lines(iter(latency)))) == 5
    point = next(bench_extra.scaling(workshop, 64))
    assert point["ram_mebibytes"] == 64
    assert point["received_ms"] <= point["committed_ms"]
    assert len(list(bench_extra.scaling_lines(iter([point])))) == 2
