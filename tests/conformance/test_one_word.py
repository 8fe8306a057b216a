"""One text: a word that is changed in a rule or in a check is changed in whatever is made of it, without another edit."""

import json
from pathlib import Path
from typing import Final

from tests.conformance.mutants import Edit
from tests.conformance.one_word import readings
from tests.conformance.test_mutants import mutated_tree, run

PROGRAM: Final = Path(__file__).with_name("one_word.py")
WORDS: Final = (
    Edit("spec/rules/receive.py", "is_recorded = (s.phase == Phase.RECEIVING)", "is_recorded = (s.phase == Phase.RECEIVED)"),
    Edit("spec/wire/multifd.py", "    Reason.HELLO_VERSION,\n", "    Reason.CHANNEL_ID,\n"),
)


def test_a_changed_word_changes_all_that_is_made_of_it(tmp_path: Path) -> None:
    """Given a rule and a check with one word changed each, Then card, page, formula, picture, explorer, hash and vectors are others."""
    done = run([str(PROGRAM)], mutated_tree(tmp_path, WORDS))
    assert done.returncode == 0, done.stderr
    before, after = readings(), json.loads(done.stdout)
    assert [name for name in before if before[name] == after[name]] == []
    for name in ("card", "page", "formula"):
        assert "phase = RECEIVING ∨ (colo" in before[name].replace("\\", ""), name
        assert "phase = RECEIVED ∨ (colo" in after[name].replace("\\", ""), name
    # Nothing is recorded any more, so that not all is flushed, and RAM is not what was sent.
    assert ">receive.prepare<" in before["picture"]
    assert ">receive.prepare<" not in after["picture"]
    assert "the model has other RAM at checkpoint.commit" in after["vector of a schedule"]
    assert (before["vector of a check"], after["vector of a check"]) == ("hello-version", "channel-id")
    assert "channel-id" in after["card of a check"]


def test_without_a_change_all_stays(tmp_path: Path) -> None:
    """Given a tree in which both files were written anew with what they held (the control), Then everything is as it was."""
    same = tuple(Edit(word.file, "", "") for word in WORDS)
    done = run([str(PROGRAM)], mutated_tree(tmp_path, same))
    assert done.returncode == 0, done.stderr
    # A place in a text is a line of it: it has not moved either.
    assert json.loads(done.stdout) == readings()


def test_the_words_are_there() -> None:
    """Given the words, Then each occurs once in its file, and one word of it is changed."""
    root = Path(__file__).parents[2]
    for word in WORDS:
        assert (root / word.file).read_text().count(word.old) == 1
        differ = [(old, new) for old, new in zip(word.old.split("."), word.new.split("."), strict=True) if old != new]
        assert len(differ) == 1
