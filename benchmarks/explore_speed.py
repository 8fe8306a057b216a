# ruff: noqa: INP001  # a program, not a package
"""How fast `colofd explore` is: states a second, with and without symmetry, and how long SPIN takes for as many.

python benchmarks/explore_speed.py                 the core slice, 2 channels, 2 pages, 2 values
python benchmarks/explore_speed.py --spin          SPIN too, from one initial state (needs spin and gcc)
"""

import argparse
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

import click

from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import SLICES, slice_of
from colofd.model.promela import SPIN_OPTIONS, promela
from colofd.model.search import Exploration, explore


def main() -> None:
    """Measure, and print one JSON object for each exploration."""
    parser = argparse.ArgumentParser(description="Measure exploration.")
    parser.add_argument("--slice", dest="part", default="core", choices=[each.name for each in SLICES])
    parser.add_argument("--sizes", default="2x2x2", help="channels x pages x values, and x device states for slices of both sides")
    parser.add_argument("--spin", action="store_true", help="let SPIN explore the same from one initial state")
    given = parser.parse_args()
    part = slice_of(given.part)
    instance = Instance(part.spec, part, Sizes(*map(int, given.sizes.split("x"))))
    for symmetric in (True, False):
        _print(explore(instance, symmetric=symmetric), what="all initial states", symmetric=symmetric)
    if given.spin:
        first = next(iter(instance.initial_states()))
        _print(explore(instance, initial=[first]), what="one initial state", symmetric=False)
        _spin(promela(instance, first), order="breadth first", options=["-DBFS"])
        _spin(promela(instance, first), order="depth first", options=[])


def _print(found: Exploration, *, what: str, symmetric: bool) -> None:
    counts = {"states": found.states, "visited": found.representatives, "edges": found.edges, "depth": found.depth}
    speed = {"seconds": round(found.seconds, 2), "visited_per_second": found.states_per_second}
    click.echo(json.dumps({"by": "colofd", "from": what, "symmetric": symmetric, **counts, **speed}))


def _spin(text: str, *, order: str, options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "receive.pml").write_text(text)
        _run(["spin", *SPIN_OPTIONS, "-a", "receive.pml"], folder)
        _run(["gcc", "-O2", "-w", "-DSAFETY", "-DNOREDUCE", *options, "-DMEMLIM=16000", "-o", "pan", "pan.c"], folder)
        begin = time.perf_counter()
        said = _run(["./pan", "-m2000000", "-w26"], folder)
        seconds = time.perf_counter() - begin
    stored, transitions = (re.search(rf"(\S+) {what}", said) for what in ("states, stored", "transitions"))
    counts = {"states": stored and stored[1], "edges": transitions and transitions[1]}
    click.echo(json.dumps({"by": "SPIN", "order": order, **counts, "seconds": round(seconds, 2)}))


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603  # ours
    return done.stdout


if __name__ == "__main__":
    main()
