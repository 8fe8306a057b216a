"""The suite catches what it is for: each mutant is noticed, by the rule or by the test that is meant to notice it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

import colofd.conformance
import colofd.impl
import colofd.model
import colofd.spec
from colofd.spec.profiles import STRICT
from tests.conformance.mutants import MUTANTS, Edit, Mutant

ROOT: Final = Path(__file__).parents[2]
RUN: Final = Path(__file__).with_name("mutant_run.py")
PARTS: Final = {
    part.__name__.removeprefix("colofd."): Path(part.__path__[0]) for part in (colofd.spec, colofd.model, colofd.impl, colofd.conformance)
}
SECONDS: Final = 60
"""Nothing here takes as long; the schedules have bounds of their own."""

DIRECTED_AND_SHAPES: Final = 60


def mutated_tree(folder: Path, edits: tuple[Edit, ...]) -> Path:
    """Make a folder that holds `colofd` with the edits, everything else linked; return what goes on the path."""
    tree = folder / "colofd"
    tree.mkdir()
    files = {edit.file for edit in edits}
    for part, source in PARTS.items():
        _link(source, tree / part, {Path(file).relative_to(part) for file in files if Path(file).parts[0] == part})
    for file in files:
        text = (PARTS[Path(file).parts[0]] / Path(*Path(file).parts[1:])).read_text()
        for edit in edits:
            text = text.replace(edit.old, edit.new) if edit.file == file else text
        (tree / file).write_text(text)
    return folder


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


def run(arguments: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with `path` before everything else."""
    environment = {**os.environ, "PYTHONPATH": f"{path}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603  # our own Python


def campaign(tree: Path, edits: tuple[Edit, ...], against: str = STRICT) -> dict[str, Any]:
    """Run the schedules on a tree; return what was found, after a look at where it was imported from."""
    files = sorted({edit.file for edit in edits})
    modules = [f"colofd.{file.removesuffix('.py').replace('/', '.')}" for file in files]
    finished = run([str(RUN), against, *modules], tree)
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    assert found["files"] == [str(tree / "colofd" / file) for file in files], "another file than the changed one was imported"
    return found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_still_fits_the_source(mutant: Mutant) -> None:
    """Given a mutant, then each text that it replaces occurs exactly once, and something is said to notice it."""
    for edit in mutant.edits:
        assert (ROOT / edit.file).read_text().count(edit.old) == 1, f"{edit.file} has changed: {edit.old!r}"
    assert bool(mutant.rule) is not bool(mutant.test)


def test_without_a_change_nothing_is_noticed(tmp_path: Path) -> None:
    """Given a tree in which one file was written anew with what it held (the control), then the schedules find nothing."""
    same = (Edit("impl/channel.py", "", ""),)
    found = campaign(mutated_tree(tmp_path, same), same)
    assert (found["violations"], found["errors"]) == ({}, [])
    assert found["schedules"] >= DIRECTED_AND_SHAPES


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.rule], ids=lambda mutant: mutant.name)
def test_the_schedules_notice_a_mutant(mutant: Mutant, tmp_path: Path) -> None:
    """Given a mutant, when the directed schedules run, then the first violation names the rule that the mutant breaks."""
    found = campaign(mutated_tree(tmp_path, mutant.edits), mutant.edits)
    assert list(found["violations"]) == [mutant.rule], found


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.test], ids=lambda mutant: mutant.name)
def test_a_test_notices_a_mutant(mutant: Mutant, tmp_path: Path) -> None:
    """Given a mutant that only bad input or a wrong receiver shows, when the test that gives it runs, then that test fails."""
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", mutant.test]
    with_change = run(arguments, mutated_tree(tmp_path, mutant.edits))
    assert with_change.returncode == 1, with_change.stdout
    assert "FAILED" in with_change.stdout
