# ruff: noqa: INP001  # a program, not a package
"""Put every mistake that can be planted to `colofd check`, and say by which rule each is found: a table in Markdown.

python planted.py                        all of bugs.h, two at a time; about ten minutes
python planted.py mirror-decided-again   some of them

Exit codes: 0 each is found and named by the rule that bugs.h gives for it, 1 one is not, or the receiver without a mistake is blamed.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

HERE: Final = Path(__file__).parent
NONE: Final = "none"
_LINE: Final = re.compile(r"^    BUG_([A-Z_]+), +/\* (\S+) \*/$", re.MULTILINE)
_AT_ONCE: Final = 2
"""Most of the time is waited for a receiver that does not go on."""
_LONGEST: Final = 600.0
"""Seconds that a check may take."""


@dataclass(frozen=True)
class Found:
    """What a check says of one mistake: the ids that are violated, the whole text of its findings, and how long it took."""

    violated: tuple[str, ...]
    text: str
    seconds: float

    def names(self, rule: str) -> bool:
        """Whether the rule is violated, or pointed to."""
        return rule in self.violated or re.search(rf"{re.escape(rule)}(?![\w.-])", self.text) is not None


def rules_by_bug() -> dict[str, str]:
    """Return the mistakes of bugs.h, each with the id of the rule that it breaks."""
    return {name.lower().replace("_", "-"): rule for name, rule in _LINE.findall((HERE / "bugs.h").read_text())}


def found_of(bug: str, folder: Path) -> Found:
    """Build the receiver with a mistake, and check it."""
    program = folder / bug
    make = ["make", "--silent", "--directory", str(HERE), f"OUT={program}", f"BUG={'' if bug == NONE else bug}"]
    subprocess.run(make, check=True)  # noqa: S603  # our own Makefile
    check = [sys.executable, "-m", "colofd.conformance", "check", f"exec:{program}", "--json"]
    begin = time.perf_counter()
    said = subprocess.run(check, capture_output=True, text=True, timeout=_LONGEST, check=False)  # noqa: S603  # as above
    seconds = time.perf_counter() - begin
    if not said.stdout:
        smoke = re.search(r"the smoke case failed, so the rest was not run: ([\w.-]+)", said.stderr)
        if smoke is None:
            raise click.ClickException(f"{bug}: {said.stderr}")
        return Found((smoke[1],), said.stderr, seconds)
    return Found(*_told(json.loads(said.stdout)["rules"]), seconds)


def _told(rules: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    broken = {name: each for name, each in rules.items() if each["outcome"] in ("violated", "errored")}
    return tuple(broken), json.dumps([[each["why"], each["evidence"].get("errors")] for each in broken.values()])


def table(bugs: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    """Yield whether a mistake is named as it should be, and its row."""
    with tempfile.TemporaryDirectory(prefix="planted-") as name, ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda bug: found_of(bug, Path(name)), bugs)
        for (bug, rule), its in zip(bugs.items(), found, strict=True):
            is_named = not its.violated if bug == NONE else its.names(rule)
            others = ", ".join(each for each in its.violated if each != rule)
            yield is_named, f"| {bug} | {rule if is_named else f'**not {rule}**'} | {others} | {its.seconds:.0f} |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Say by which rule each mistake is found.")
    parser.add_argument("bugs", nargs="*", help="some of `make bugs`, or none: the receiver without a mistake")
    chosen: list[str] = parser.parse_args().bugs
    every = {NONE: "nothing", **rules_by_bug()}
    if unknown := set(chosen) - set(every):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; `make bugs` lists them")
    click.echo("| planted | rule that is named | violated, too | seconds |\n| --- | --- | --- | --- |")
    rows = []
    for is_named, row in table({bug: rule for bug, rule in every.items() if not chosen or bug in chosen}):
        rows.append(is_named)
        click.echo(row)
    click.echo(f"\n{sum(rows)} of {len(rows)} as they should be")
    return 0 if all(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
