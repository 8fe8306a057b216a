"""`colofd explain`: all there is to say about one id, in the terminal."""

import json
import re
from typing import Final

import click

from colofd.conformance.card import card_json, card_text
from colofd.conformance.cards import groups, makers
from colofd.conformance.unknown_names import UnknownName
from colofd.spec.questions import QUESTIONS, Question

EXAMPLES: Final = """\b
Examples:
  colofd explain                                  # all ids, by kind
  colofd explain receive.prepare                  # a rule: words, formula, source, proof, what breaks without it
  colofd explain isolation.guest --json           # a clause
  colofd explain payload-size                     # a reason, and the checks that give it
  colofd explain "mirror decided again"           # a known mistake, with its shortest run as a picture
  colofd explain is the cache alive               # a question of the thread, found by its words
"""


@click.command(epilog=EXAMPLES)
@click.argument("words", nargs=-1, metavar="[ID|REASON|QUESTION]...")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def explain(words: tuple[str, ...], as_json: bool) -> None:
    """Explain a rule, clause, claim, measure, wire record or check, reason, deviation, known mistake, assumption or question.

    Words that are no id are looked for in the questions of the thread. Without an argument: all ids, by kind.

    Exit codes: 0 it was explained, 2 there is no such id, and no question with these words.
    """
    if not words:
        ids = {group.title: list(group.cards) for group in groups()}
        click.echo(json.dumps(ids, indent=2) if as_json else "\n\n".join(_listed(title, names) for title, names in ids.items()))
        return
    cards = [makers()[identifier]() for identifier in _meant(" ".join(words))]
    if as_json:
        click.echo(json.dumps([card_json(card) for card in cards], indent=2, ensure_ascii=False))
    else:
        click.echo("\n\n".join(card_text(card) for card in cards))


def _listed(title: str, names: list[str]) -> str:
    return "\n".join([title, *(f"  {name}" for name in names)])


def _meant(asked: str) -> list[str]:
    """Return the ids that are meant: the one that is named, or those of the questions that have the most of the words."""
    if asked in makers():
        return [asked]
    words = _words(asked)
    found = {question.id: len(words & _words(_searched(question))) for question in QUESTIONS}
    best = max(found.values())
    # One word is enough only if nothing else was asked.
    if best < min(len(words), 2) or not best:
        raise UnknownName("id, reason or question", asked, list(makers()))
    return [identifier for identifier, count in found.items() if count == best]


def _searched(question: Question) -> str:
    return f"{question.id} {question.text} {question.answer}"


def _words(text: str) -> set[str]:
    """Return the words that tell something, without their endings."""
    return {word.removesuffix("s") for word in re.findall(r"[a-z_]{3,}", text.lower())} - _EMPTY


_EMPTY: Final = {
    "the",
    "and",
    "does",
    "doe",
    "what",
    "why",
    "how",
    "are",
    "wa",
    "who",
    "until",
    "when",
    "for",
    "not",
    "with",
    "that",
    "thi",
}
"""Words that are in every question, without their endings."""
