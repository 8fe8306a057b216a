"""The documents say what the code says."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from colofd.impl import Event
from colofd.spec.constants import Step
from colofd.spec.protocol import BOTH_SIDES, spec_sha256

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
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


def test_the_python_in_the_readme_runs() -> None:
    """Given each Python block of the README, When it is executed, Then nothing fails."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102  # the README's own text
