"""What a card is: an id, one sentence, and sections; and a card as plain text."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

WIDTH: Final = 120


class Style(StrEnum):
    """How the lines of a section are read."""

    WORDS = "words"
    """Each line is a paragraph."""
    FORMULA = "formula"
    """Lines as they stand: formulas, pictures."""
    REFERENCES = "references"
    """Each line is the id of another card, or an id, a colon and a remark."""
    PLACE = "place"
    """Each line is a file of the checkout, a colon and a line of it."""


@dataclass(frozen=True)
class Section:
    """A part of a card."""

    title: str
    style: Style
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """All there is to say about one id; sections without lines are left out."""

    id: str
    kind: str
    words: str
    sections: tuple[Section, ...]


def words(title: str, *lines: str) -> Section:
    """Return a section of paragraphs."""
    return Section(title, Style.WORDS, tuple(line for line in lines if line))


def formula(title: str, *lines: str) -> Section:
    """Return a section of lines that are printed as they stand."""
    return Section(title, Style.FORMULA, lines)


def references(title: str, *lines: str) -> Section:
    """Return a section of ids."""
    return Section(title, Style.REFERENCES, lines)


def filled(*sections: Section) -> tuple[Section, ...]:
    """Return those sections that have lines."""
    return tuple(section for section in sections if section.lines)


def card_text(card: Card) -> str:
    """Return a card as text for a terminal."""
    return "\n".join([f"{card.id} ({card.kind})", *_wrapped(card.words), *(line for section in card.sections for line in _lines(section))])


def card_json(card: Card) -> dict[str, Any]:
    """Return a card as JSON-able data."""
    sections = [{"title": each.title, "style": each.style.value, "lines": list(each.lines)} for each in card.sections]
    return {"id": card.id, "kind": card.kind, "words": card.words, "sections": sections}


def _lines(section: Section) -> Iterator[str]:
    yield f"\n{section.title}"
    for line in section.lines:
        yield from [f"  {line}"] if section.style is Style.FORMULA else _wrapped(line)


def _wrapped(paragraph: str) -> list[str]:
    lines = paragraph.splitlines() or [""]
    return [part for line in lines for part in textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="  ") or [""]]
