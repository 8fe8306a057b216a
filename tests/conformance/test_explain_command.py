"""`colofd explain`: every id has a card, the card is what the text says, and what is no id is looked for in the questions."""

import dataclasses
import json
import re

import pytest
from click.testing import CliRunner, Result

from colofd.conformance.card import Card, Style, card_text
from colofd.conformance.cards import groups, makers
from colofd.conformance.cards_of_spec import rule_card
from colofd.conformance.cards_of_wire import meanings
from colofd.conformance.explain_command import explain
from colofd.model.controls import control
from colofd.spec.language import Rule
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.questions import QUESTIONS
from colofd.spec.reasons import Reason
from colofd.spec.state import Phase, World


def run(*arguments: str) -> Result:
    return CliRunner().invoke(explain, list(arguments))


def lines_of(card: Card, title: str) -> tuple[str, ...]:
    """Return the lines of one section; none if there is no such section."""
    return next((section.lines for section in card.sections if section.title == title), ())


def test_ids_are_unique_over_all_kinds() -> None:
    """Given the cards of all kinds, then no id is used twice, so that it needs no kind on the command line."""
    assert len(makers()) == sum(len(group.cards) for group in groups())


def test_every_id_has_a_card_that_refers_to_cards() -> None:
    """Given every id, when its card is made, then it has words, no empty section, and refers to ids, or to streams beside the tables."""
    ids = set(makers())
    for identifier, make in makers().items():
        card = make()
        assert card.id == identifier
        assert card.words, identifier
        assert all(section.lines for section in card.sections), identifier
        referred = {line.split(": ")[0] for section in card.sections if section.style is Style.REFERENCES for line in section.lines}
        others = {each for each in referred - ids if not each.startswith("wire.")}
        assert others <= {"progress"}, identifier


@pytest.mark.parametrize("rule", BOTH_SIDES.rules, ids=lambda rule: rule.id)
def test_a_rule_is_explained_with_all_that_it_has(rule: Rule) -> None:
    """Given a rule, then its card has a line for each guard and update, where it comes from, and what proves it."""
    card = makers()[rule.id]()
    assert len(lines_of(card, "possible where")) == len(rule.guards)
    assert len(lines_of(card, "what it does, all at once")) == len(rule.updates)
    assert rule.source in lines_of(card, "source")
    assert re.match(r"[1-9][0-9]* obligations name it", lines_of(card, "proved")[0])


def test_a_changed_word_changes_words_and_formula() -> None:
    """Given a rule with one word of its text and one of its formula changed, then its card says so, in the same places."""
    rule = BOTH_SIDES.rule("checkpoint.begin")
    guard = World(is_read_only=True).phase == Phase.RECEIVED
    changed = rule_card(dataclasses.replace(rule, doc=rule.doc.replace("asks", "begs"), guards=(guard, *rule.guards[1:])))
    assert changed.words == rule_card(rule).words.replace("asks", "begs") != rule_card(rule).words
    assert lines_of(changed, "possible where")[0] == "/1  phase = RECEIVED"
    assert lines_of(rule_card(rule), "possible where")[0] == "/1  phase = IDLE"


def test_what_breaks_without_a_rule_is_drawn() -> None:
    """Given the rule of mirroring and the clause that it keeps, then both cards have the latch, with the length and the end of its run."""
    for identifier in ("receive.mirror", "isolation.guest"):
        drawn = lines_of(makers()[identifier](), "what breaks without it: mirror decided again")
        assert drawn[0] == control("mirror decided again").doc
        assert drawn[1] == "18 steps to receive.mirror(channel 1, page 0), which breaks isolation.guest"
        assert drawn[-1].startswith("     18") or drawn[-1].startswith(" 18")


def test_every_reason_has_its_meaning() -> None:
    """Given the reasons, then each is explained by the text that stands under it."""
    assert set(meanings()) == set(Reason)
    assert meanings()[Reason.TRUNCATED] == "A channel ends inside a record or a packet."


def test_an_id_is_explained_in_text_and_as_json() -> None:
    """Given an id, then text and JSON are those of its card."""
    text = run("payload-size")
    assert (text.exit_code, text.stdout) == (0, card_text(makers()["payload-size"]()) + "\n")
    (card,) = json.loads(run("payload-size", "--json").stdout)
    assert (card["id"], card["kind"]) == ("payload-size", "reason to refuse an input")
    assert any("wire.packet.payload-size" in line for section in card["sections"] for line in section["lines"])


def test_without_an_argument_all_ids_are_listed() -> None:
    """Given no argument, then all ids are listed by kind."""
    listed = json.loads(run("--json").stdout)
    assert [identifier for names in listed.values() for identifier in names] == list(makers())
    assert run().stdout.startswith("Questions\n  question.which-predicate\n")


def test_a_question_is_found_by_its_words() -> None:
    """Given words of a question, then it is explained."""
    for words, identifier in (
        ("is the cache alive", "cache-alive"),
        ("p->mutex", "channel-mutex"),
        ("zero pages recorded dirty", "zero-recorded"),
    ):
        assert run(*words.split()).stdout.startswith(f"question.{identifier} "), words


@pytest.mark.parametrize(("asked", "near"), [("reciev.prepare", "receive.prepare"), ("mirror decidd again", "mirror decided again")])
def test_what_is_nothing_has_the_nearest_names(asked: str, near: str) -> None:
    """Given a misspelt name, then the nearest ones are said, and the exit code is 2."""
    said = run(asked)
    assert said.exit_code == 2
    assert repr(near) in said.stderr


def test_every_question_is_answered_by_texts_that_exist() -> None:
    """Given the questions of the thread, then each has an answer and texts; and each question of a rule is answered with it."""
    ids = set(makers())
    for question in QUESTIONS:
        assert question.answer.endswith(".")
        assert question.texts
        assert set(question.texts) <= ids, question.id
    answered = {question.id: question.texts for question in QUESTIONS}
    asked = [(rule.id, each) for rule in BOTH_SIDES.rules if rule.question for each in rule.question.split(", ")]
    assert len(asked) > 8
    assert [(rule, each) for rule, each in asked if rule not in answered[each]] == []
