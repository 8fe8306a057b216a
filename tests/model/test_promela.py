"""SPIN explores the same instances, from generated Promela, and counts the same."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import slice_of
from colofd.model.finite_terms import FALSE, Terms
from colofd.model.promela import SPIN_OPTIONS, _assignments, promela
from colofd.model.search import explore

NO_SPIN = shutil.which("spin") is None or shutil.which("gcc") is None


def run(command: list[str], folder: Path) -> str:
    """Run a program and return what it says; it must succeed."""
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=120)  # noqa: S603  # ours
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def spin(text: str, folder: Path) -> tuple[int, int]:
    """Return the number of states that SPIN stores, and of transitions that it takes."""
    (folder / "receive.pml").write_text(text)
    for command in (
        ["spin", *SPIN_OPTIONS, "-a", "receive.pml"],
        ["gcc", "-O1", "-w", "-DSAFETY", "-DNOREDUCE", "-o", "pan", "pan.c"],
    ):
        run(command, folder)
    said = run(["./pan", "-m200000", "-w22"], folder)
    states, transitions = (re.search(rf"(\d+) {what}", said) for what in ("states, stored", "transitions"))
    assert states, said
    assert transitions, said
    assert "errors: 0" in said, said
    return int(states[1]), int(transitions[1])


@pytest.mark.skipif(NO_SPIN, reason="needs the programs spin and gcc (Debian packages spin and gcc)")
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("core", Sizes(1, 1, 2)),
        ("core", Sizes(2, 1, 2)),
        ("main-channel", Sizes(1, 1, 2)),
        ("main-channel", Sizes(2, 1, 2)),
        ("both-sides", Sizes(1, 1, 2, 1)),
        ("both-sides", Sizes(1, 1, 2, 2)),
        ("whole", Sizes(1, 1, 2)),
        ("whole-both-sides", Sizes(1, 1, 2, 1)),
    ],
    ids=str,
)
def test_spin_counts_the_same(name: str, sizes: Sizes, tmp_path: Path) -> None:
    """Given a small instance and its first initial state, then SPIN finds as many states, and one transition more: into the first."""
    part = slice_of(name)
    instance = Instance(part.spec, part, sizes)
    initial = next(iter(instance.initial_states()))
    found = explore(instance, initial=[initial])
    assert spin(promela(instance, initial), tmp_path) == (found.states, found.edges + 1)


def test_what_is_written_last_is_read_by_nothing_after() -> None:
    """Given a step that writes one slot from another that it writes, too, then the reading comes first; an exchange keeps a value aside."""
    terms = Terms()
    names = ["a", "b"]
    assert _assignments({0: FALSE, 1: terms.slot(0)}, names) == ["b = a", "a = 0"]
    assert _assignments({0: terms.slot(1), 1: terms.slot(0)}, names) == ["new_a = b", "b = a", "a = new_a"]
