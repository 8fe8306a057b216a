"""Cards of what is said of states and steps: rules, clauses, claims, measures, chains and waits."""

from collections.abc import Iterator
from pathlib import Path

from colofd.conformance.card import Card, Section, Style, filled, formula, references, words
from colofd.conformance.cards_of_faults import shown_faults
from colofd.conformance.cards_of_proof import assumed, mistakes, proved
from colofd.model.controls import control
from colofd.model.proof_trees import cells_read
from colofd.spec.language import Chain, Clause, Measure, Rule, StepClaim, Wait, sort_name
from colofd.spec.language.progress_prose import chain_prose, measure_prose, wait_prose
from colofd.spec.language.prose import prose, update_prose
from colofd.spec.profiles import DEVIATIONS, PROFILES, Deviation
from colofd.spec.questions import QUESTIONS, Question


def rule_card(rule: Rule) -> Card:
    """Return the card of a rule."""
    parameters = ", ".join(f"{each.name}: {sort_name(each.sort)}" for each in rule.parameters)
    sections = (
        words("by", f"the {rule.actor}" + (f", for any {parameters}" if parameters else "")),
        formula("possible where", *(f"/{place}  {prose(guard)}" for place, guard in enumerate(rule.guards, 1))),
        formula("what it does, all at once", *(update_prose(update) for update in rule.updates)),
        *_common(rule.id, rule.source, rule.location),
    )
    return Card(rule.id, "rule", _first(rule.doc), filled(words("more", *_rest(rule.doc)), *sections))


def clause_card(clause: Clause, kind: str = "clause: it holds in every state that can be reached") -> Card:
    """Return the card of a clause."""
    reads = ", ".join(sorted(cells_read(clause.formula)))
    sections = (formula("formula", prose(clause.formula)), words("speaks of", reads), *_common(clause.id, clause.source, clause.location))
    return Card(clause.id, kind, _first(clause.doc), filled(words("more", *_rest(clause.doc)), *sections))


def claim_card(claim: StepClaim) -> Card:
    """Return the card of a claim about every step."""
    sections = (formula("formula", prose(claim.formula)), *_common(claim.id, claim.source, claim.location))
    return Card(claim.id, "claim: every step keeps to it (x' is x after the step)", _first(claim.doc), filled(*sections))


def measure_card(measure: Measure) -> Card:
    """Return the card of a measure."""
    lines = [line.strip() for line in measure_prose(measure).splitlines()[1:]]
    sections = (formula("reached at last", *lines), *_common(measure.id, measure.source, measure.location))
    return Card(measure.id, "measure of progress", _first(measure.doc), filled(*sections))


def chain_card(chain: Chain) -> Card:
    """Return the card of a chain of measures."""
    lines = [line.strip() for line in chain_prose(chain).splitlines()[1:]]
    sections = (formula("reached at last", *lines), *_common(chain.id, chain.source, chain.location))
    return Card(chain.id, "chain of measures", _first(chain.doc), filled(*sections))


def wait_card(wait: Wait) -> Card:
    """Return the card of a state in which all wait."""
    lines = [line.strip() for line in wait_prose(wait).splitlines()[1:]]
    sections = (formula("formula", *lines), *_common(wait.state.id, wait.state.source, wait.state.location))
    return Card(wait.state.id, "wait: nobody goes on by himself", _first(wait.state.doc), filled(*sections))


def _common(identifier: str, source: str, location: str) -> tuple[Section, ...]:
    """Return what every text has: where it comes from, what it answers, and what is known of it."""
    return (
        words("source", source),
        Section("text", Style.PLACE, (place(location),)),
        *questions_of(identifier),
        *mistakes(identifier),
        *shown_faults(identifier),
        references("versions that do otherwise", *_deviations_of(identifier)),
        *proved(identifier),
        *assumed(identifier),
    )


def questions_of(identifier: str) -> tuple[Section, ...]:
    """Return the section with the questions that this text helps to answer."""
    return (references("answers", *(f"{each.id}: {each.text}" for each in QUESTIONS if identifier in each.texts)),)


def deviation_card(deviation: Deviation) -> Card:
    """Return the card of a deviation of versions of QEMU."""
    sections = (
        words("known", known(deviation)),
        words("source", deviation.source),
        references("changes", *changed_by(deviation)),
        references("the changed text, and its shortest run", *([deviation.change] if deviation.change else [])),
        references("loses", *deviation.loses),
        references("does not check", *deviation.unchecked),
        words("schedules of colofd check that show it", ", ".join(deviation.seen_in)),
        *questions_of(deviation.id),
    )
    return Card(deviation.id, "deviation of versions of QEMU", deviation.instead, filled(*sections))


def question_card(question: Question) -> Card:
    """Return the card of a question of the thread."""
    sections = (words("answer", question.answer), references("in the specification", *question.texts), words("asked", question.source))
    return Card(question.id, "question of the thread", question.text, sections)


def _deviations_of(identifier: str) -> Iterator[str]:
    for deviation in DEVIATIONS:
        if identifier in touched(deviation):
            yield f"{deviation.id}: {deviation.instead} ({known(deviation)})"


def touched(deviation: Deviation) -> set[str]:
    """Return the ids of the rules that a deviation changes, of the clauses that it loses, and of the checks that it does not make."""
    return {*changed_by(deviation), *deviation.loses, *deviation.unchecked}


def changed_by(deviation: Deviation) -> list[str]:
    """Return the ids of the rules that a deviation changes."""
    return [rule.id for rule in control(deviation.change).rules] if deviation.change else []


def known(deviation: Deviation) -> str:
    """Return for each profile how a deviation is known."""
    return ", ".join(f"{profile}: {deviation.evidence[profile]}" for profile in PROFILES if profile in deviation.evidence)


def place(location: str) -> str:
    """Return file and line of a text, as they are in the checkout."""
    path, _, line = location.rpartition(":")
    parts = Path(path).parts
    begin = len(parts) - 1 - parts[::-1].index("spec")
    return f"{'/'.join(parts[begin:])}:{line}"


def _first(doc: str) -> str:
    return " ".join(doc.split("\n\n", maxsplit=1)[0].split())


def _rest(doc: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in doc.split("\n\n")[1:])
