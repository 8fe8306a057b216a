"""The documents say what the code says."""

import itertools
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from colofd.conformance.command import colofd
from colofd.impl import Event
from colofd.spec.constants import Step
from colofd.spec.protocol import BOTH_SIDES, spec_sha256

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SCHEMA = ROOT / "docs" / "trace-event.schema.json"


def test_the_published_schema_of_events_is_that_of_the_code() -> None:
    """Given the event class, When its JSON Schema is generated, Then it is the published one (write it anew if this was intended)."""
    assert json.loads(SCHEMA.read_text()) == json.loads(json.dumps(msgspec.json.schema(Event)))


def test_an_event_survives_json() -> None:
    """Given an event, When it is written and read as JSON, Then it is the same."""
    event = Event(Step.READ_PAGE, "mfd0", (1, 2), (), ("00" * 8, "11" * 8))
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Given a document, When its relative links are followed, Then each leads to a file of the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_output_in_the_readme_is_of_today() -> None:
    """Given the printed check in the README, When its first column is read, Then it is rules and clauses of today, in their order."""
    text = (ROOT / "README.md").read_text()
    printed = re.findall(r"^  ([a-z]+\.[a-z-]+) +(?:holds|skipped|violated)", text, re.MULTILINE)
    known = [*(rule.id for rule in BOTH_SIDES.rules), *(clause.id for clause in BOTH_SIDES.clauses)]
    assert printed == [identifier for identifier in known if identifier in printed]
    assert len(printed) > 10
    assert spec_sha256()[:16] in text


def python_of(document: Path) -> list[str]:
    """Return the Python blocks of a document, but those that say in a comment above them why they are not run."""
    return re.findall(r"(?<!-->\n)```python\n(.*?)```", document.read_text(), re.DOTALL)


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if python_of(each)], ids=lambda path: path.name)
def test_the_python_in_a_document_runs(document: Path) -> None:
    """Given each Python block of a document, When it is executed, Then nothing fails."""
    for block in python_of(document):
        exec(compile(block, document.name, "exec"), {})  # noqa: S102  # the document's own text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_a_document_exist(document: Path) -> None:
    """Given the shell blocks of a document, When each line that calls colofd or make is read, Then command and options are known."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL) for line in block.splitlines()]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert set(words[1:]) <= set(targets), line
        if words and words[0].endswith("bin/colofd"):
            options = [option for option in words[2:] if option.startswith("--")]
            assert [option for option in options if option not in options_of(words[1:])] == [], line


def leaves(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that is no group, with all its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None, name
        if isinstance(found, click.Group):
            yield from leaves(found, (*words, name))
        else:
            yield " ".join((*words, name)), found


@pytest.mark.parametrize(("words", "command"), [pytest.param(*each, id=each[0]) for each in leaves(colofd)])
def test_the_help_of_a_command_has_an_example(words: str, command: click.Command) -> None:
    """Given a command, When its help is read, Then there is an example that calls it, with options that it has."""
    _, _, example = f"{command.help}\n{command.epilog}".partition("Example")
    called = [shlex.split(each) for each in re.findall(rf"colofd ({words}\b[^;,]*)", example)]
    assert called, "there is no example"
    options = [word for each in called for word in itertools.takewhile(lambda word: word != "--", each) if word.startswith("--")]
    assert [option for option in options if option not in options_of(words.split())] == []


def options_of(words: list[str]) -> set[str]:
    """Return the options of the command that the words begin with; KeyError if there is none."""
    command: click.Command = colofd
    context = click.Context(colofd)
    for word in words:
        if isinstance(command, click.Group):
            found = command.get_command(context, word)
            assert found is not None, word
            command = found
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
