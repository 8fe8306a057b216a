"""The page about the mutants of the specification: `python -m colofd.conformance.mutants_page` decides all of them and prints it."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from colofd.conformance.prove_mutants import MutantResult, mutant_results
from colofd.model.solver import SolverName, solver
from colofd.model.spec_mutants_proof import Outcome
from colofd.spec.protocol import spec_sha256

ABOUT: Final = """\
Every rule of both sides is changed in one place: a guard loses a conjunct or an alternative (below a quantifier over all, too), an update
is left out, a set of members of an enumeration gets or loses a member, in guards and in what is written. Of the changed rule all is asked
that is asked of it in `colofd prove`, the cheapest questions first, until one fails.

- *By proof*: an obligation about what may not happen fails: a clause, isolation, ownership, commit, or a step that no rule may take
  ([`spec/steps`](../spec/steps/orders.py)).
- *By progress*: what must be possible is not: a rule, or an ability ([`spec/steps`](../spec/steps/abilities.py)); a measure fails
  ([`spec/progress`](../spec/progress/__init__.py)); or a step may leave everything as it is, and be taken for ever.
- *By count*: only a small instance has other states or steps. Such a mutant is a gap in what is claimed.
- *Equivalent*: every solver says that, where all clauses hold, the changed rule is possible in the same states and does the same; or that
  the steps it adds are steps of another rule, or change nothing. Most of them ask for members that a clause excludes already.

`colofd prove --mutants` decides all of them again; the tests decide every ninth.
"""


def page(results: Sequence[MutantResult], solvers: Sequence[str], date: str) -> str:
    """Return the page as Markdown; `solvers` are names with versions."""
    head = f"Written on {date} for the specification `{spec_sha256()}`, with {', '.join(solvers)}."
    return "\n".join(["# Mutation of the specification", "", head, "", ABOUT, *_table(results), "", *_equivalent(results), ""])


def _table(results: Sequence[MutantResult]) -> Iterator[str]:
    outcomes = list(Outcome)
    counts = Counter((result.rule, result.outcome) for result in results)
    totals = Counter(result.outcome for result in results)
    yield f"| rule | {' | '.join(outcomes)} |"
    yield f"| --- |{' ---: |' * len(outcomes)}"
    for rule in dict.fromkeys(result.rule for result in results):
        yield f"| `{rule}` | {' | '.join(str(counts[rule, outcome] or '') for outcome in outcomes)} |"
    yield f"| all {len(results)} | {' | '.join(str(totals[outcome]) for outcome in outcomes)} |"


def _equivalent(results: Sequence[MutantResult]) -> Iterator[str]:
    """Yield the equivalent mutants that leave something out; those that add a member are many, and of one kind."""
    equivalent = [result for result in results if result.outcome is Outcome.EQUIVALENT]
    others = [result for result in equivalent if " too in " not in result.change]
    yield f"Of the {len(equivalent)} equivalent mutants, {len(equivalent) - len(others)} add a member to a set. The others:"
    yield ""
    yield from (f"- `{result.rule}`: {result.change}" for result in others)


if __name__ == "__main__":
    decided = list(mutant_results(list(SolverName)))
    versions = [f"{name} {solver(name).version}" for name in SolverName]
    sys.stdout.write(page(decided, versions, datetime.now(UTC).date().isoformat()))
