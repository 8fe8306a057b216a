# ruff: noqa: INP001  # a program, not a package
"""Damages streams as `colofd stress --only inputs` does, led by which branches of receiver and decoder are reached. Needs atheris.

python -m pip install atheris
python benchmarks/fuzz_by_coverage.py CORPUS -max_total_time=3600     (all options are libFuzzer's; CORPUS is a folder, kept between runs)

Ends with an exception at the first input about which receiver and decoder differ. libFuzzer prints what it reaches.
"""

import importlib
import sys

ATHERIS = importlib.import_module("atheris")

with ATHERIS.instrument_imports(include=["colofd.impl", "colofd.model"]):
    from colofd.conformance.fuzz import KINDS, Edit, Tally, damaged, targets, try_damaged

TALLY = Tally()


def try_one(choices: bytes) -> None:
    """Try the damage that some bytes stand for."""
    given = ATHERIS.FuzzedDataProvider(choices)
    valid, seen = targets()[given.ConsumeIntInRange(0, len(targets()) - 1)]
    edits = [
        Edit(given.ConsumeIntInRange(0, KINDS - 1), given.ConsumeIntInRange(0, 1 << 16), given.ConsumeIntInRange(0, 1 << 16))
        for _ in range(given.ConsumeIntInRange(1, 4))
    ]
    if wrong := try_damaged(valid, damaged(valid, seen, edits), TALLY):
        raise AssertionError(f"{wrong}, after {edits} of {valid.id}")


if __name__ == "__main__":
    ATHERIS.Setup(sys.argv, try_one)
    ATHERIS.Fuzz()
