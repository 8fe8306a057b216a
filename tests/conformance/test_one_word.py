"""One text: a word that is changed in a rule or in a check is changed in whatever is made of it, without another edit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from colofd.conformance.mutants_faults import Edit
from colofd.conformance.mutants_tree import environment_of, mutated_tree
from tests.conformance.one_word import readings

PROGRAM: Final = Path(__file__).with_name("one_word.py")
WORDS: Final = (
    Edit("spec/rules/receive.py", "is_recorded = (s.phase == Phase.RECEIVING)", "is_recorded = (s.phase == Phase.RECEIVED)"),
    Edit("spec/wire/multifd.py", "    Reason.HELLO_VERSION,\n", "    Reason.CHANNEL_ID,\n"),
)


def test_a_changed_word_changes_all_that_is_made_of_it(tmp_path: Path) -> None:
    """Given a rule and a check with one word changed each, Then card, page, formula, picture, explorer, hash and vectors are others."""
    path = mutated_tree(tmp_path, WORDS)
    command = [sys.executable, str(PROGRAM)]
    done = subprocess.run(command, env=environment_of(path), capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  # ours
    assert done.returncode == 0, done.stderr
    before, after = readings(), json.loads(done.stdout)
    # What is made of another rule stays as it was (the control).
    assert [name for name in before if before[name] == after[name]] == ["another rule"]
    for name in ("card", "page", "formula"):
        assert "phase = RECEIVING ∨ (colo" in before[name].replace("\\", ""), name
        assert "phase = RECEIVED ∨ (colo" in after[name].replace("\\", ""), name
    # Nothing is recorded any more, so that not all is flushed, and RAM is not what was sent.
    assert ">receive.prepare<" in before["picture"]
    assert ">receive.prepare<" not in after["picture"]
    assert "the model has other RAM at checkpoint.commit" in after["vector of a schedule"]
    assert (before["vector of a check"], after["vector of a check"]) == ("hello-version", "channel-id")
    assert "channel-id" in after["card of a check"]


def test_a_word_is_changed() -> None:
    """Given the changes, Then each is of one word: what stands around it stays."""
    for word in WORDS:
        differ = [(old, new) for old, new in zip(word.old.split("."), word.new.split("."), strict=True) if old != new]
        assert len(differ) == 1
