"""`colofd prove`: the clauses hold for any number of pages and channels, and the receiver decides as the rules say."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from colofd.conformance.decisions_proof import obligations
from colofd.conformance.prove_controls import ControlResult, control_results
from colofd.conformance.prove_failures import failures
from colofd.conformance.prove_mutants import MutantResult, count_of_mutants, mutant_results
from colofd.conformance.prove_report import Proof, proof_json, proof_text
from colofd.conformance.prove_selection import selected
from colofd.model.proof import Verdict, verdicts
from colofd.model.proof_gates import gates
from colofd.model.proof_obligations import AnyObligation
from colofd.model.smtlib_export import Exported, export
from colofd.model.solver import Solver, SolverFailed, SolverName, solver
from colofd.spec.protocol import BOTH_SIDES, SPEC

CHOICES: Final = {"z3": (SolverName.Z3,), "cvc5": (SolverName.CVC5,), "both": (SolverName.Z3, SolverName.CVC5)}

EXAMPLES: Final = """\b
Examples:
  colofd prove
  colofd prove --only receive.mirror
  colofd prove --only "receive.mirror keeps isolation.guest" --json
  colofd prove --export proof --proofs && proof/check.sh
"""


@click.command(epilog=EXAMPLES)
@click.option("--only", "wanted", multiple=True, metavar="ID,...", help="Ask only about these rules, clauses, measures, or one obligation.")
@click.option("--solver", "choice", type=click.Choice(list(CHOICES)), default="both", show_default=True, help="Which solver is asked.")
@click.option("--controls", is_flag=True, help="Also ask whether known mistakes are noticed, with a run to each; half a minute.")
@click.option("--mutants", is_flag=True, help="Also mutate every rule, and decide what notices each mutant; some minutes.")
@click.option(
    "--export",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the obligations as SMT-LIB files with SHA-256 sums and a checker into this new or empty folder.",
)
@click.option("--proofs", "with_proofs", is_flag=True, help="With --export: also write cvc5's proofs (format CPC, for the checker ethos).")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def prove(
    wanted: tuple[str, ...], choice: str, controls: bool, mutants: bool, folder: Path | None, with_proofs: bool, as_json: bool
) -> None:
    """Prove that the specification keeps its clauses, for any number of pages, channels and checkpoints.

    Proved too: what is reached at last, what comes to the same, and that every decision which the built-in receiver calls is what the
    rules and the wire tables say, for all inputs. What is not proved is explained: the clause, a state and a step that break it, and the
    shortest run to it. Controls and mutants are asked about only with their options; without, they are null in the JSON.

    Exit codes: 0 all is proved, 1 something is not, 2 it could not be run.
    """
    if with_proofs and folder is None:
        raise click.UsageError("--proofs needs --export DIR: that is where proofs are written to")
    try:
        solvers = [solver(name) for name in CHOICES[choice]]
        proof = _prove(solvers, wanted, folder, with_controls=controls, with_mutants=mutants, with_proofs=with_proofs)
    except SolverFailed as failed:
        click.echo(f"colofd: {failed}\nhint: `--solver z3` or `--solver cvc5` asks only one", err=True)
        sys.exit(2)
    click.echo(json.dumps(proof_json(proof), indent=2) if as_json else proof_text(proof))
    sys.exit(0 if proof.holds else 1)


def _prove(
    solvers: Sequence[Solver],
    wanted: Sequence[str],
    folder: Path | None,
    *,
    with_controls: bool,
    with_mutants: bool,
    with_proofs: bool,
) -> Proof:
    begin = time.perf_counter()
    every = obligations(SPEC)
    asked = selected(every, wanted) if wanted else every
    exported = None if folder is None else _export(asked, folder, with_proofs=with_proofs)
    found = _asked(asked, solvers)
    unproved = [verdict for verdict in found if not verdict.is_proved]
    return Proof(
        solvers,
        found,
        gates(SPEC, BOTH_SIDES, {each.obligation.name: each.is_proved for each in found}),
        only=wanted,
        failures=failures(unproved, [SPEC, BOTH_SIDES]),
        controls=_controls(solvers) if with_controls else None,
        mutants=_mutants(solvers) if with_mutants else None,
        exported=exported,
        seconds=time.perf_counter() - begin,
    )


def _asked(asked: Sequence[AnyObligation], solvers: Sequence[Solver]) -> list[Verdict]:
    answered = verdicts(BOTH_SIDES, asked, solvers)
    with click.progressbar(answered, length=len(asked), label="proving", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        return list(bar)


def _controls(solvers: Sequence[Solver]) -> list[ControlResult]:
    with click.progressbar(control_results(solvers), label="mistakes", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        return list(bar)


def _mutants(solvers: Sequence[Solver]) -> list[MutantResult]:
    decided = mutant_results([each.name for each in solvers])
    hidden = not sys.stderr.isatty()
    with click.progressbar(decided, length=count_of_mutants(), label="mutants", file=sys.stderr, hidden=hidden) as bar:
        return list(bar)


def _export(asked: Sequence[AnyObligation], folder: Path, *, with_proofs: bool) -> Exported:
    try:
        return export(BOTH_SIDES, asked, folder, with_proofs=with_proofs)
    except FileExistsError as error:
        raise click.BadParameter(f"{error}; name a new or an empty folder", param_hint="--export") from error
