# ruff: noqa: INP001, T201  # a program, not a package
"""Prints which branches of the receiver's parsers `colofd stress --only parsers` reaches, and where the others begin. Needs coverage.

python -m pip install coverage
python benchmarks/fuzz_branches.py 100000     (how many inputs; drawn from seed 1)
"""

import importlib
import sys
from pathlib import Path

PARSERS = ("packet", "payload", "channel", "records", "runs", "main_channel", "commands", "configuration", "device_state", "stream", "colo")
RECEIVER = Path(__file__).parents[1] / "impl"


def main(count: int) -> None:
    """Search, and print a row of a table for each parser."""
    watch = importlib.import_module("coverage").Coverage(branch=True, data_file=None, include=[f"{RECEIVER}/*"])
    watch.start()
    search = importlib.import_module("colofd.conformance.fuzz_search").Search(1, print)
    search.run(count)
    watch.stop()
    print(f"{count} inputs, {len(search.reached.states)} states\n")
    print("| parser | branches reached | of | not reached from line |\n| --- | --- | --- | --- |")
    for name in PARSERS:
        analysis = watch._analyze(str(RECEIVER / f"{name}.py"))  # noqa: SLF001  # there is no other way to single branches
        numbers = analysis.numbers
        lines = ", ".join(str(line) for line in sorted(analysis.missing_branch_arcs()))
        print(f"| `{name}` | {numbers.n_executed_branches} | {numbers.n_branches} | {lines} |")


if __name__ == "__main__":
    main(int(sys.argv[1]))
