"""What `colofd bench` says: a table, JSON, and a plot."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np

from colofd.conformance.bench_rows import Result, Verdict

REFERENCE: Final = "reference"
OURS: Final = "ours"


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def row_json(result: Result) -> dict[str, Any]:
    """Return one row."""
    return {
        "name": result.row.name,
        "what": result.row.what,
        "verdict": result.verdict,
        "ratio": None if result.verdict is Verdict.NOISE else round(result.ratio, 3),
        "low": round(min(result.ratios), 3),
        "high": round(max(result.ratios), 3),
        "rounds": len(result.ratios),
        "must": result.row.must,
        "aim": result.row.aim,
        "control_spread": round(result.control_spread, 3),
        **{f"{who}_{name}": value for who in (REFERENCE, OURS) for name, value in _costs(result, who).items()},
    }


def _costs(result: Result, who: str) -> Mapping[str, float]:
    return {
        "gigabytes_per_second": round(result.gigabytes_per_second(who), 2),
        "cpu_seconds_per_gib": round(result.cpu_seconds_per_gib(who), 3),
        "peak_kib": result.peak_kib(who),
    }


def report_json(results: Sequence[Result]) -> dict[str, Any]:
    """Return all rows, and the machine."""
    return {"rows": [row_json(result) for result in results], "machine": machine()}


HEADINGS: Final = f"{'row':20} {'ratio':>6} {'low':>6} {'high':>6} {'must':>5} {'aim':>5} {'control':>7}   {'GB/s':>11}   {'CPU s/GiB':>11}"


def line(result: Result) -> str:
    """Return one row of the table. Where there are two numbers, they are ours and the reference's."""
    noise = result.verdict is Verdict.NOISE
    rates, cpu = (
        f"{get(OURS):5.{digits}f} {get(REFERENCE):5.{digits}f}"
        for get, digits in ((result.gigabytes_per_second, 1), (result.cpu_seconds_per_gib, 2))
    )
    ratio, low, high = ("-", "-", "-") if noise else (f"{each:.2f}" for each in (result.ratio, min(result.ratios), max(result.ratios)))
    row = result.row
    asked = f"{row.must:5.2f} {row.aim:5.2f} {result.control_spread:6.0%} "
    return f"{row.name:20} {ratio:>6} {low:>6} {high:>6} {asked}   {rates}   {cpu}   {result.verdict}"


WIDTH: Final = 760
LEFT: Final = 170
SCALE: Final = 380
"""Pixels of a ratio of 1."""
STEP: Final = 22


def svg(results: Sequence[Result]) -> str:
    """Return a plot: a bar for each ratio, a thin line from its low to its high, and marks at the must and the aim."""
    height = STEP * (len(results) + 2)
    marks = [_row_svg(result, STEP * (number + 1)) for number, result in enumerate(results)]
    scale = "".join(
        f'<line x1="{_x(tick)}" y1="{STEP - 6}" x2="{_x(tick)}" y2="{height - STEP}" stroke="#ccc"/>'
        f'<text x="{_x(tick)}" y="{height - 6}" text-anchor="middle">{tick:g}</text>'
        for tick in (0, 0.5, 1.0, 1.5)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">'
        f"<title>colofd bench: speed as a ratio to the reference in the same run</title>"
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>{scale}{"".join(marks)}</svg>\n'
    )


def _x(ratio: float) -> float:
    return round(LEFT + SCALE * min(max(ratio, 0.0), 1.5), 1)


def _row_svg(result: Result, y: int) -> str:
    label = f'<text x="{LEFT - 6}" y="{y + 13}" text-anchor="end">{escape(result.row.name)}</text>'
    asked = "".join(
        f'<line x1="{_x(ratio)}" y1="{y}" x2="{_x(ratio)}" y2="{y + 18}" stroke="{color}" stroke-width="2"/>'
        for ratio, color in ((result.row.must, "#c33"), (result.row.aim, "#393"))
    )
    if result.verdict is Verdict.NOISE:
        return f'{label}{asked}<text x="{LEFT + 4}" y="{y + 13}" fill="#777">could not measure</text>'
    low, middle, high = _x(min(result.ratios)), _x(result.ratio), _x(max(result.ratios))
    bar = f'<rect x="{LEFT}" y="{y + 3}" width="{round(middle - LEFT, 1)}" height="12" fill="#69c"/>'
    reach = f'<line x1="{low}" y1="{y + 9}" x2="{high}" y2="{y + 9}" stroke="black"/>'
    return f"{label}{bar}{reach}{asked}"
