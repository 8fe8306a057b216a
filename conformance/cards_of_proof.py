"""What the proof says about one id: obligations that name it, assumptions under it, and what breaks without it; and cards of these."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from colofd.conformance.card import Card, Section, filled, formula, references, words
from colofd.conformance.decisions_proof import obligations
from colofd.conformance.prove_selection import ids_of
from colofd.conformance.run_picture import picture
from colofd.model.controls import WRONG
from colofd.model.controls_declared import Control
from colofd.model.controls_runs import instance_of, run_of
from colofd.model.proof_obligations import Kind
from colofd.spec.assumptions import ASSUMPTIONS, Assumption
from colofd.spec.language import Rule
from colofd.spec.language.prose import prose, update_prose
from colofd.spec.profiles import DEVIATIONS
from colofd.spec.protocol import SPEC

BREAKS: Final = "what breaks without it: "
"""How the title of a section begins that shows what comes of a mistake, which is named behind it."""

RUN: Final = "the shortest run"
"""The title of the section with the run of a mistake, on its own card."""

SHOWN: Final = 6
"""Steps of a run, the last ones, that are drawn on the card of something else than the mistake itself."""


@cache
def _obligations_by_id() -> Mapping[str, Sequence[tuple[Kind, str]]]:
    found: dict[str, list[tuple[Kind, str]]] = {}
    for obligation in obligations(SPEC):
        for identifier in dict.fromkeys(ids_of(obligation)):
            found.setdefault(identifier, []).append((obligation.kind, obligation.name))
    return found


def proved(identifier: str) -> tuple[Section, ...]:
    """Return the section with how many obligations of which kind name this id."""
    named = _obligations_by_id().get(identifier, [])
    if not named:
        return ()
    counts = Counter(kind for kind, _ in named)
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return (words("proved", f"{len(named)} obligations name it: {said}. What came of them: docs/proved.md.", _one_of_each(named)),)


def _one_of_each(named: Sequence[tuple[Kind, str]]) -> str:
    first = dict(reversed(named))
    return f"For instance: {'; '.join(first[kind] for kind in dict.fromkeys(kind for kind, _ in named))}."


def assumed(identifier: str) -> tuple[Section, ...]:
    """Return the section with the assumptions that name this id, or the first words of it."""
    named = [each for each in ASSUMPTIONS if any(f"{identifier}.".startswith(f"{need}.") for need in each.needed_by)]
    return (references("assumes", *(each.id for each in named)),)


def mistakes(identifier: str) -> tuple[Section, ...]:
    """Return what breaks without a text: each mistake in its place, or that breaks it, with the end of the shortest run."""
    return tuple(formula(f"{BREAKS}{each.name}", each.doc, *_run(each)) for each in WRONG if identifier in _touched(each))


def _touched(mistake: Control) -> set[str]:
    breaks = {str(mistake.shows.breaks)} if mistake.shows else set()
    return {rule.id for rule in mistake.rules} | breaks


@cache
def _picture(name: str) -> tuple[str, ...]:
    mistake = next(each for each in WRONG if each.name == name)
    run = run_of(mistake)
    if run is None or mistake.shows is None:
        raise AssertionError(name)
    return (
        f"{len(run)} steps to {run.steps[-1].name}, which breaks {mistake.shows.breaks}",
        *picture(instance_of(mistake, mistake.shows), run),
    )


def _run(mistake: Control) -> Iterator[str]:
    said, head, *drawn = _picture(mistake.name)
    yield from (said, head)
    if len(drawn) > SHOWN:
        yield f'     ... all of it: colofd explain "{mistake.name}"'
    yield from drawn[-SHOWN:]


def control_card(control: Control) -> Card:
    """Return the card of a changed specification."""
    begin = () if control.initial is control.base.initial else (prose(control.initial.formula),)
    sections = (
        words("source", control.source),
        formula("the changed text", *(line for rule in control.rules for line in _text(rule)), *begin),
        references("in place of", *(rule.id for rule in control.rules)),
        words("must not be proved any more", *control.must_fail),
        formula(RUN, *(_picture(control.name) if control.is_wrong else ("there is none: it breaks nothing",))),
        references("versions that do so", *(each.id for each in DEVIATIONS if each.change == control.name)),
    )
    kind = "known mistake" if control.is_wrong else "change that breaks nothing"
    return Card(control.name, kind, " ".join(control.doc.split()), filled(*sections))


def _text(rule: Rule) -> Iterator[str]:
    yield f"{rule.id}, possible where"
    yield from (f"  {prose(guard)}" for guard in rule.guards)
    yield from ("does", *(f"  {update_prose(update)}" for update in rule.updates))


def assumption_card(assumption: Assumption) -> Card:
    """Return the card of an assumption."""
    needs = [need for need in assumption.needed_by if need in _obligations_by_id()]
    others = ", ".join(need for need in assumption.needed_by if need not in needs)
    sections = (references("needed by", *needs), words("needed by all of" if others else "", others))
    return Card(assumption.id, "assumption", assumption.text, filled(*sections))
