"""A colofd of its own for each fault: the sources with its edits, everything else linked, and a process that imports it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import colofd.conformance
import colofd.impl
import colofd.model
import colofd.spec
from colofd.conformance.mutants_faults import Edit, Fault

PARTS: Final = {
    part.__name__.removeprefix("colofd."): Path(part.__path__[0]) for part in (colofd.spec, colofd.model, colofd.impl, colofd.conformance)
}
LIVE: Final = "colofd.conformance.mutants_live"


class DoesNotFit(Exception):  # noqa: N818  # says what is the case
    """The source is not as a fault knows it."""


@dataclass(frozen=True)
class Killed:
    """A case that shows a fault: the rule that the first violation names, why, and after how many seconds of the case."""

    case: str
    rule: str
    why: str
    seconds: float


@dataclass(frozen=True)
class LiveResult:
    """What the cases show of a fault, in the order in which they were run; `left` were not, as time was up."""

    killed: tuple[Killed, ...]
    run: tuple[str, ...]
    left: tuple[str, ...]


def mutated_tree(folder: Path, edits: Sequence[Edit]) -> Path:
    """Make a folder that holds `colofd` with the edits; return what goes on the path. DoesNotFit if the source has changed."""
    tree = folder / "colofd"
    tree.mkdir()
    files = {edit.file for edit in edits}
    for part, source in PARTS.items():
        _link(source, tree / part, {Path(file).relative_to(part) for file in files if Path(file).parts[0] == part})
    for file in files:
        text = source_of(file).read_text()
        for edit in edits:
            text = _edited(text, edit) if edit.file == file else text
        (tree / file).write_text(text)
    return folder


def source_of(file: str) -> Path:
    """Return where a source stands, by its name in the checkout."""
    return PARTS[Path(file).parts[0]].joinpath(*Path(file).parts[1:])


def _edited(text: str, edit: Edit) -> str:
    if edit.old and text.count(edit.old) != 1:
        raise DoesNotFit(f"{edit.file} has changed: {edit.old!r} occurs {text.count(edit.old)} times")
    return text.replace(edit.old, edit.new) if edit.old else text


def _link(source: Path, target: Path, changed: set[Path]) -> None:
    """Link a folder as a whole, or its entries one by one if something in it is to be changed, which is left out."""
    if not changed:
        target.symlink_to(source)
        return
    target.mkdir()
    for entry in source.iterdir():
        inner = {path.relative_to(entry.name) for path in changed if path.parts[0] == entry.name}
        if entry.name == "__pycache__":
            # Compiled files of the others are as good as they were; the changed ones must be compiled again.
            _link_compiled(entry, target / entry.name, {path.stem for path in changed})
        elif Path() not in inner:
            _link(entry, target / entry.name, inner)


def _link_compiled(source: Path, target: Path, changed: set[str]) -> None:
    target.mkdir()
    for entry in source.iterdir():
        if entry.name.partition(".")[0] not in changed:
            (target / entry.name).symlink_to(entry)


def environment_of(path: Path, *others: Path) -> dict[str, str]:
    """Return the environment of a process that imports what is in `path` before everything else."""
    return {**os.environ, "PYTHONPATH": ":".join(map(str, (path, *others))), "PYTHONDONTWRITEBYTECODE": "1"}


def run_live(path: Path, fault: Fault, cases: Sequence[str], seconds: float) -> LiveResult:
    """Put a fault, whose tree is at `path`, to cases; no more are begun after so many seconds. A case that never ends has found it, too."""
    modules = sorted({f"colofd.{edit.file.removesuffix('.py').replace('/', '.')}" for edit in fault.edits})
    command = [sys.executable, "-m", LIVE, json.dumps({"modules": modules, "cases": list(cases), "seconds": seconds})]
    is_hung = False
    try:
        # Our own Python, and what is put to it are names of our own.
        finished = subprocess.run(command, env=environment_of(path), capture_output=True, timeout=3 * seconds + 60, check=False)  # noqa: S603
        out, err = finished.stdout, finished.stderr
    except subprocess.TimeoutExpired as late:
        out, err, is_hung = late.stdout or b"", late.stderr or b"", True
    return _result(out.decode(), err.decode(), path, cases, is_hung=is_hung)


def _result(out: str, err: str, path: Path, cases: Sequence[str], *, is_hung: bool) -> LiveResult:
    said: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
    begun = [line["begin"] for line in said if "begin" in line]
    ended = {line["case"] for line in said if "case" in line}
    killed = [Killed(line["case"], line["rule"], line["why"], line["seconds"]) for line in said if line.get("rule")]
    files: list[str] = next((line["files"] for line in said if "files" in line), [])
    if not files or not all(file.startswith(str(path)) for file in files):
        # A fault that cannot even be imported is none that a case shows.
        raise DoesNotFit(f"what was imported is {files}, not the changed sources at {path}: {err[-500:]}")
    lost = [case for case in begun if case not in ended]
    killed += [Killed(case, "progress", "the process hangs" if is_hung else f"the process ends: {err[-200:]}", 0.0) for case in lost]
    return LiveResult(tuple(killed), tuple(begun), tuple(case for case in cases if case not in begun))
