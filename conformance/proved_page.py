"""The page "What is proved", from what `colofd prove --json` has printed: `python -m colofd.conformance.proved_page FILE` prints it."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from colofd.model.proof_obligations import Kind
from colofd.model.solver import RESOURCES
from colofd.spec.language import Chain, Clause, Measure, StepClaim
from colofd.spec.progress.both_sides import progress as progress_of_both
from colofd.spec.progress.receiver import progress as progress_of_receiver
from colofd.spec.protocol import BOTH_SIDES, STANDBY
from colofd.spec.steps import steps, steps_of_both

Report = dict[str, Any]

ABOUT: Final = {
    Kind.INITIATION: "initial states satisfy a clause",
    Kind.CONSECUTION: "a step keeps a clause",
    Kind.ISOLATION: "a step leaves the guest's RAM as it is, once the guest may have run",
    Kind.OWNERSHIP: "memory that a step touches is allocated",
    Kind.COMMIT: "where the guest starts or goes on, it holds the primary's RAM",
    Kind.PROGRESS: "what remains becomes smaller, and somebody can go on",
    Kind.VACUITY: "a rule is possible",
    Kind.STEP: "no step does what none may do",
    Kind.ABILITY: "what must stay possible is, and does what it is for",
    Kind.NEED: "a clause or a guard says something that the others do not",
    Kind.DECISION: "a decision of the built-in receiver is what a rule, or a check of the wire format, says",
    Kind.EQUIVALENCE: "two ways to receive come to the same",
}
"""What the obligations of each kind say."""


def page(report: Report) -> str:
    """Return the page as Markdown."""
    solvers = ", ".join(f"{name} {said['version']}" for name, said in report["solvers"].items())
    verdict = f"**All {report['obligations']} obligations are proved.**" if report["holds"] else "**Not everything holds: see below.**"
    lines = [
        "# What is proved",
        "",
        f"Written by `make proved` on {report['date']}, for the specification `{report['spec_sha256']}`, with {solvers}.",
        "",
        f"{verdict} They speak of any number of pages, channels, packets and checkpoints, and of any page contents.",
        "Each is asked of every solver, as the same SMT-LIB text, in a decidable fragment. A solver is stopped by its own count of",
        f"resources ({RESOURCES:,}), not by a clock; if one does not know, or two disagree, that is a failure. What is proved",
        "is the specification, and of the built-in receiver only its decisions; see [what is claimed](claims.md).",
        "",
        *_obligations(report),
        *_texts("The clauses", "In every state that can be reached:", BOTH_SIDES.clauses),
        *_texts("The clauses of a standby", "The same, with a store in place of the secondary's guest:", _of_standby()),
        *_texts("What no step does", "From any state that can be reached, no rule takes a step that does otherwise:", _no_step()),
        *_texts("What is reached at last", "Measures, and chains of them, which go on if steps that help are taken at last:", _at_last()),
        *_assumptions(report),
        *_gates(report),
        *_controls(report),
        *_mutants(report),
        *_asked(report),
    ]
    return "\n".join(lines)


def _table(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)
    yield ""


def _obligations(report: Report) -> Iterator[str]:
    rows = [[kind, ABOUT[Kind(kind)], f"{count['proved']} of {count['all']}"] for kind, count in report["counts"].items()]
    yield from ("## The obligations", "", *_table(["kind", "each says", "proved"], rows))
    for each in report["unproved"]:
        yield from (f"Not proved: {each['name']}.", "")


def _texts(title: str, introduction: str, texts: Iterable[Clause | Measure | Chain | StepClaim]) -> Iterator[str]:
    rows = [[f"`{each.id}`", " ".join(each.doc.split())] for each in texts]
    yield from (f"## {title}", "", introduction, "", *_table(["id", "in words"], rows))


def _of_standby() -> list[Clause]:
    known = {clause.id for clause in BOTH_SIDES.clauses}
    return [clause for clause in STANDBY.clauses if clause.id not in known]


def _no_step() -> list[StepClaim]:
    return [*steps.claims, *steps_of_both.claims]


def _at_last() -> list[Measure | Chain]:
    books = (progress_of_receiver, progress_of_both)
    return [*(each for book in books for each in book.measures), *(each for book in books for each in book.chains)]


def _assumptions(report: Report) -> Iterator[str]:
    rows = [[f"`{each['id']}`", each["text"], ", ".join(each["needed_by"])] for each in report["assumptions"]]
    yield from ("## What is assumed", "", "Where one of these is false, the proof says nothing.", "")
    yield from _table(["id", "assumed", "needed by"], rows)


def _gates(report: Report) -> Iterator[str]:
    rows = [[gate, "passed" if is_passed else "NOT PASSED"] for gate, is_passed in report["gates"].items()]
    yield from ("## The gates", "", "Without these, a proof would be worth little:", "", *_table(["gate", ""], rows))


def _controls(report: Report) -> Iterator[str]:
    controls = report["controls"] or []
    rows = [[each["name"], " ".join(each["doc"].split()), each["breaks"], str(each["run_length"]), _failed(each)] for each in controls]
    yield from ("## Known mistakes", "")
    yield "The specification with one text changed. Each must make obligations fail, and has a shortest run from an initial state that"
    yield from ("shows why (`colofd prove --controls` prints both).", "")
    yield from _table(["mistake", "what is wrong", "a run breaks", "steps", "obligations that fail"], rows)


def _failed(control: Report) -> str:
    failed: list[str] = control["failed"]
    more = len(failed) - 1
    return f"{failed[0]} and {more} more" if more > 0 else "".join(failed)


def _mutants(report: Report) -> Iterator[str]:
    yield from ("## Mutants of the specification", "")
    mutants = report["mutants"]
    if mutants is None:
        yield from ("Not asked about.", "")
        return
    yield "Every conjunct of a guard dropped, every update dropped, every set of an enumeration made larger or smaller, one at a time:"
    yield ""
    shown = ("total", "by_proof", "by_progress", "by_count", "equivalent", "survived")
    yield from _table([each.replace("_", " ") for each in shown], [[str(mutants[each]) for each in shown]])
    for each in mutants["not_noticed"]:
        yield from (f"- Not noticed by proof or progress: {each}", "")


def _asked(report: Report) -> Iterator[str]:
    shown = ("unsat", "sat", "unknown", "seconds")
    rows = [[name, said["version"], *(str(said[each]) for each in shown)] for name, said in report["solvers"].items()]
    yield from ("## The answers", "", *_table(["solver", "version", *shown], rows))
    yield "The answer is *sat* where an example is wanted. Seconds are the sum over all questions."
    exported = report["export"]
    if exported and exported["proofs"]:
        yield f"Of the {exported['unsat']} obligations that are *unsat*, cvc5 has given proofs of {exported['proofs']} in its format CPC,"
        yield f"{exported['gapless']} of them with every step explained. `colofd prove --export DIR --proofs` writes them, beside a"
        yield "script that asks any solver again; the checker ethos reads them with the rules (`proofs/eo/cpc`) of the same cvc5."
    yield ""


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(sys.argv[1]).read_text())))
