"""Gates: what a specification has to be like for its proof to be worth something. All of it is computed from the texts.

Two of them need a solver, which is asked for states that show that each clause says something, and that each guard forbids something.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from colofd.model.proof_obligations import Answer, Kind, Obligation
from colofd.model.proof_sorts import cycle
from colofd.model.proof_trees import cells_read, walk
from colofd.model.spec_mutants import conjuncts
from colofd.spec.language import And, Clause, Constant, Every, Expr, Literal, Not, Or, Rule, Some, Sort, Spec, Where
from colofd.spec.language.prose import prose
from colofd.spec.state import Page

SORTS: Final = "sorts have no cycle"
GHOSTS: Final = "ghosts decide nothing"
TEXTS: Final = "every text has id and source"
PAGES: Final = "pages cannot be told apart"
CLAUSES: Final = "no clause is vacuous"
GUARDS: Final = "no guard is vacuous"

_FALSE: Final[Literal[bool]] = Literal(False, bool)


def gates(base: Spec, whole: Spec, proved: Mapping[str, bool]) -> dict[str, tuple[str, ...]]:
    """Return for each gate what does not pass it.

    Args:
        base: the specification without its layer.
        whole: the specification with its layer.
        proved: for the names of the obligations that were asked, whether they are proved.
            The two gates about what is vacuous are left out if not all of `need_obligations` are among them.
    """
    sorts = cycle(whole)
    found = {
        SORTS: (f"cycle of sorts {' -> '.join(sorts)}",) if sorts else (),
        GHOSTS: tuple(f"the ghost {ghost} decides in {identifier}" for identifier, ghost in ghost_flows(whole)),
        TEXTS: tuple(_unnamed(whole)),
        PAGES: tuple(f"a text names the page {page}" for page in named_members(whole, Page)),
    }
    for gate, needs in ((CLAUSES, clause_needs(base, whole)), (GUARDS, guard_needs(base, whole))):
        names = [each.name for each in needs]
        if all(name in proved for name in names):
            found[gate] = tuple(f"not shown: {name}" for name in names if not proved[name])
    return found


def need_obligations(base: Spec, whole: Spec) -> tuple[Obligation, ...]:
    """Return the questions for states that show what is needed: where a clause does not hold, or only one guard forbids a step."""
    return (*clause_needs(base, whole), *guard_needs(base, whole))


def ghost_flows(spec: Spec) -> tuple[tuple[str, str], ...]:
    """Return each rule in which a ghost decides anything but ghosts, with the ghost; there must be none."""
    ghosts = {cell.name for cell in spec.state.cells() if cell.is_ghost}
    return tuple((rule.id, ghost) for rule in spec.rules for ghost in sorted(ghosts & cells_read(*rule.guards, *_real_values(rule))))


def _real_values(rule: Rule) -> Iterator[Expr[Any]]:
    for update in rule.updates:
        if not update.cell.is_ghost:
            yield from (*update.key, update.value)


def named_members(spec: Spec, sort: Sort) -> tuple[str, ...]:
    """Return the members of an unbounded sort that have names. Without any, no text depends on the page, or on its RAM block."""
    formulas: list[Expr[Any]] = [spec.initial.formula, *(clause.formula for clause in spec.clauses)]
    for rule in spec.rules:
        formulas += [*rule.guards, *(part for update in rule.updates for part in (*update.key, update.value))]
    return tuple(sorted({node.name for each in formulas for node in walk(each) if isinstance(node, Constant) and node.sort is sort}))


def _unnamed(spec: Spec) -> Iterator[str]:
    texts: tuple[Rule | Clause, ...] = (*spec.rules, *spec.clauses)
    for each in texts:
        if not (each.id.strip() and each.doc.strip() and each.source.strip()):
            yield f"no id, text or source: {each.id} ({each.location})"


def clause_needs(base: Spec, whole: Spec) -> Iterator[Obligation]:
    """Yield for each clause that it is not true of everything, and that each of its implications speaks of some state."""
    for clause in whole.clauses:
        yield _example(f"{clause.id} is not true of everything", (Not(clause.formula),))
        spec = base if any(clause is each for each in base.clauses) else whole
        for number, premise in enumerate(premises(clause.formula), 1):
            yield _example(f"{clause.id} speaks of some state, part {number}", (*_invariant(spec), premise))


def premises(formula: Expr[bool]) -> Iterator[Expr[bool]]:
    """Yield when each implication of a formula says something: for some values of the variables around it, its left side holds."""
    match formula:
        case Every(variable=variable, body=body):
            yield from (Some(variable, each) for each in premises(body))
        case And(left=left, right=right):
            yield from premises(left)
            yield from premises(right)
        case Or(left=Not(operand=condition), right=conclusion):
            yield condition
            yield from (And(condition, each) for each in premises(conclusion))
        case Where(condition=condition, then=then, otherwise=otherwise):
            yield from (condition, Not(condition))
            yield from (And(condition, each) for each in premises(then))
            yield from (And(Not(condition), each) for each in premises(otherwise))


def guard_needs(base: Spec, whole: Spec) -> Iterator[Obligation]:
    """Yield for each conjunct of a guard that some state which satisfies all clauses and the other guards does not satisfy it."""
    of_base = {rule.id: rule for rule in base.rules}
    for rule in whole.rules:
        own = of_base.get(rule.id)
        yield from () if own is None else _needs_of(base, own, 0)
        yield from _needs_of(whole, rule, 0 if own is None else len(own.guards))


def _needs_of(spec: Spec, rule: Rule, first: int) -> Iterator[Obligation]:
    for number, guard in enumerate(rule.guards):
        if number >= first:
            others = (*rule.guards[:number], *rule.guards[number + 1 :])
            for part, rest in conjuncts(guard):
                hypotheses = (*_invariant(spec), *others, *([] if rest is None else [rest]), Not(part))
                yield _example(f"{rule.id} needs the guard {prose(part)}", hypotheses)


def _example(name: str, hypotheses: tuple[Expr[bool], ...]) -> Obligation:
    return Obligation(name, Kind.NEED, hypotheses, _FALSE, Answer.SOME)


def _invariant(spec: Spec) -> tuple[Expr[bool], ...]:
    return tuple(clause.formula for clause in spec.clauses)
