"""Every shell block of the documents runs, or says in a comment above it why not."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from colofd.conformance import command

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = (ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
"""The README's two blocks are what CI runs, and an overview, whose options tests/test_docs.py looks at."""

BLOCK: Final = re.compile(r"(?:<!-- not run: (?P<why>.+?) -->\n)?```(?:sh|bash|shell|console)\n(?P<text>.*?)```", re.DOTALL)
COLOFD: Final = (".venv/bin/colofd", "colofd")
ENDS: Final = re.compile(r"# exit code (\d)\b")
"""Stands behind a command that is to end with something else than 0."""


@dataclass(frozen=True)
class Block:
    """A block of a document: its lines, and why it is not run, if it is not."""

    document: str
    lines: tuple[str, ...]
    why: str


def blocks(document: Path) -> list[Block]:
    """Return the shell blocks of a document."""
    found = BLOCK.finditer(document.read_text())
    return [Block(document.name, tuple(each["text"].strip().splitlines()), each["why"] or "") for each in found]


ALL: Final = tuple(block for document in DOCUMENTS for block in blocks(document))
RUN: Final = tuple(block for block in ALL if not block.why)


def exit_code(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command of colofd in this process, which saves a second a command; any other one as it is."""
    if words[0] not in COLOFD:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, timeout=60, check=False)  # noqa: S603  # the documents' own text
        return done.returncode
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        command.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("document", list(dict.fromkeys(block.document for block in RUN)))
def test_the_blocks_of_a_document_run(document: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given the shell blocks of a document, When their lines are run one after the other, Then each ends as it should."""
    for line in [line for block in RUN if block.document == document for line in block.lines]:
        words, said = shlex.split(line, comments=True), ENDS.search(line)
        # A known mistake is there to be found.
        wanted = int(said[1]) if said else int("--control" in words)
        code = exit_code(words, monkeypatch)
        assert code == wanted, f"{line}: {code}, not {wanted}\n{capsys.readouterr().err}"


def test_what_is_not_run_has_a_reason() -> None:
    """Given all blocks, Then those that are not run say why in words, files that the reasons name exist, and most blocks are run."""
    for block in ALL:
        assert not block.why or len(block.why.split()) >= 2, block
        for name in re.findall(r"\b(?:tests|conformance)/[\w/]+\.py", block.why):
            assert (ROOT / name).exists(), block
    assert len(RUN) >= 8
    assert {block.document for block in RUN} >= {"tutorial.md", "how-to.md", "exploration.md", "latch.md", "profiles.md"}


def test_a_wrong_command_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given commands that cannot be run, or find something, Then their exit codes say so (the control of the test above)."""
    assert exit_code([COLOFD[0], "explain", "no.such-rule"], monkeypatch) == 2
    assert exit_code(["false"], monkeypatch) == 1
    assert "no.such-rule" in capsys.readouterr().err


def test_every_fence_is_one_of_a_known_language() -> None:
    """Given the documents, Then no shell block hides behind another name: what is fenced is a block of a language that is looked at."""
    known = {"sh", "python", "text", "json", "c", "{toctree}", "{raw}", ""}
    found = {name for document in DOCUMENTS for name in re.findall(r"^```([^\s`]*)", document.read_text(), re.MULTILINE)}
    assert found <= known
