# ruff: noqa: INP001  # a program, not a package
"""Damages migrations as `colofd stress --only parsers` does, led by which branches of receiver and decoder are reached. Needs atheris.

python -m pip install atheris
python benchmarks/fuzz_by_coverage.py CORPUS -max_total_time=3600     (all options are libFuzzer's; CORPUS is a folder, kept between runs)

Ends with an exception at the first input about which receiver and decoder differ. libFuzzer prints what it reaches.
"""

import importlib
import sys

ATHERIS = importlib.import_module("atheris")

with ATHERIS.instrument_imports(include=["colofd.impl", "colofd.model"]):
    from colofd.conformance.fuzz import Edit
    from colofd.conformance.fuzz_search import KINDS, MOST_EDITS, try_one
    from colofd.conformance.fuzz_targets import targets


def try_choices(choices: bytes) -> None:
    """Try the damage that some bytes stand for."""
    given = ATHERIS.FuzzedDataProvider(choices)
    number = given.ConsumeIntInRange(0, len(targets()) - 1)
    is_watched = given.ConsumeBool()
    edits = [
        Edit(given.ConsumeIntInRange(0, KINDS - 1), given.ConsumeIntInRange(0, 1 << 16), given.ConsumeIntInRange(0, 1 << 16))
        for _ in range(given.ConsumeIntInRange(1, MOST_EDITS))
    ]
    if wrong := try_one(number, edits, is_watched=is_watched)[1]:
        raise AssertionError(f"{wrong}, after {edits} of {targets()[number].id}, {'watched' if is_watched else 'not watched'}")


if __name__ == "__main__":
    ATHERIS.Setup(sys.argv, try_choices)
    ATHERIS.Fuzz()
