"""The documentation's site: made from the specification, complete, and without a broken link."""

import dataclasses
import itertools
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from colofd.conformance.card import card_text
from colofd.conformance.cards import groups, makers
from colofd.conformance.command import COMMANDS
from colofd.conformance.phase_machine import PLACES, drawing, transitions
from colofd.conformance.site import write_site
from colofd.conformance.site_pages import cards_page, commands_page, marks, writes_page
from colofd.conformance.vector_families import Needed
from colofd.conformance.vector_wire import wire_vectors
from colofd.spec.both_sides import BothSides
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.state import Phase, World

ROOT = Path(__file__).parents[2]


def test_every_id_has_its_card_on_a_page() -> None:
    """Given all pages of cards, then each id is a heading of one of them, once, with all lines that the terminal prints."""
    pages = "\n".join(map(cards_page, groups()))
    headings = re.findall(r"^## (.*)$", pages, re.MULTILINE)
    assert sorted(headings) == sorted(makers())
    said = re.sub(r"\W+", "", re.sub(r"\]\([^)]*\)", "", pages))
    for identifier in ("receive.prepare", "isolation.guest", "wire.packet.payload-size", "mirror decided again", "question.cache-alive"):
        for line in card_text(makers()[identifier]()).splitlines()[1:]:
            assert re.sub(r"\W+", "", line) in said, line


def test_the_phases_are_those_of_the_rules() -> None:
    """Given the rules, then the transitions are those that their guards and updates say, and every phase has a place."""
    found = {each.rule: ({phase.name for phase in each.before}, each.after.name) for each in transitions(SPEC)}
    assert found["phase.enter-colo"] == ({"PRECOPY", "FILLING"}, "IDLE")
    assert found["failover.take-over"] == ({"IDLE", "RECEIVING", "RECEIVED"}, "FAILOVER")
    assert found["checkpoint.flush-begin"] == ({"RECEIVED"}, "FLUSHING")
    assert len(found) == sum(any(update.cell is World.phase for update in rule.updates) for rule in SPEC.rules)
    assert set(PLACES) == set(Phase)
    drawn = drawing(transitions(SPEC))
    assert all(f">{name}</text>" in drawn for name in (*found, *(phase.name for phase in Phase)))


def test_a_changed_guard_changes_the_phases() -> None:
    """Given a rule that may be taken from another phase, then the drawing has it there (the control of the test above)."""
    begin = SPEC.rule("checkpoint.begin")
    changed = dataclasses.replace(begin, guards=(World(is_read_only=True).phase == Phase.RECEIVED,))
    spec = dataclasses.replace(SPEC, rules=tuple(changed if rule is begin else rule for rule in SPEC.rules))
    (found,) = (each for each in transitions(spec) if each.rule == begin.id)
    assert found.before == (Phase.RECEIVED,)
    assert drawing(transitions(spec)) != drawing(transitions(SPEC))


def test_who_writes_what_is_what_the_rules_say() -> None:
    """Given rules and cells, then the table says who reads and writes, and has a row for each rule and each cell."""
    assert marks(SPEC.rule("receive.prepare"), World.mirror) == "w"
    assert marks(SPEC.rule("receive.prepare"), World.peer_dirty) == "rw"
    assert marks(SPEC.rule("receive.prepare"), World.guest) == ""
    page = writes_page()
    assert [rule.id for rule in BOTH_SIDES.rules if f"[{rule.id}]" not in page] == []
    assert [cell.name for cell in BothSides.cells() if f"| `{cell.name}` |" not in page] == []


def test_every_command_has_its_help_on_the_page() -> None:
    """Given the commands, then each has a heading, those of a group too."""
    headings = re.findall(r"^## (.*)$", commands_page(), re.MULTILINE)
    assert [name for name in COMMANDS if f"colofd {name}" not in headings] == []
    assert "colofd profiles diff" in headings


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    pytest.importorskip("sphinx")
    sources, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("site")
    some = {vector.id: (vector, covers) for vector, covers in itertools.islice(wire_vectors(), 60)}
    write_site(ROOT, sources, Needed([vector for vector, _ in some.values()], {name: covers for name, (_, covers) in some.items()}, 0))
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", str(sources), str(built)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603  # our own arguments
    assert finished.returncode == 0, finished.stderr
    return built


def test_the_site_has_no_broken_link_and_needs_no_network(site: Path) -> None:
    """Given the built site, when every link, image and script is followed, then page and place exist; nothing is loaded from elsewhere."""
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    anchors = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    broken, loaded = [], []
    for path, text in pages.items():
        for tag, link in re.findall(r'<(a|link|img|script)\b[^>]*?\b(?:href|src)="([^"]*)"', text):
            parts = urlsplit(unescape(link))
            if parts.scheme or parts.netloc:
                loaded += [link] if tag != "a" else []
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            is_run = target.is_relative_to(site / "explorer")
            if not target.exists() or (place and not is_run and target in anchors and place not in anchors[target]):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert len(pages) > 40
    assert broken == []
    assert loaded == []
    assert "card-wire-main-magic" in anchors[site / "reference" / "checks.html"]
    assert "vectors are about it" in pages[site / "reference" / "checks.html"]
    assert "const colofd = {" in pages[site / "explorer" / "index.html"]
    assert "card-receive-prepare" in anchors[site / "reference" / "rules.html"]
