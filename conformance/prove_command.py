"""`colofd prove`: the clauses hold for any number of pages and channels, and the receiver decides as the rules say."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from colofd.conformance.decisions_proof import counterexample, obligations
from colofd.conformance.prove_controls import ControlResult, control_results, controls_json, controls_text
from colofd.model.proof import Verdict, structural_faults, verdicts
from colofd.model.proof_obligations import Kind
from colofd.model.smtlib_export import export
from colofd.model.solver import Solver, SolverFailed, SolverName, solver
from colofd.spec.protocol import BOTH_SIDES, SPEC, spec_sha256

CHOICES: Final = {"z3": (SolverName.Z3,), "cvc5": (SolverName.CVC5,), "both": (SolverName.Z3, SolverName.CVC5)}


@dataclass(frozen=True)
class Proof:
    """All verdicts on the specification, and what was found without a solver."""

    solvers: Sequence[Solver]
    verdicts: Sequence[Verdict]
    faults: Sequence[str]
    seconds: float
    controls: Sequence[ControlResult] = ()

    @property
    def unproved(self) -> list[Verdict]:
        """The verdicts that are not as expected."""
        return [verdict for verdict in self.verdicts if not verdict.is_proved]

    @property
    def holds(self) -> bool:
        """Whether everything is proved, and every control is noticed."""
        return not self.unproved and not self.faults and all(result.is_noticed for result in self.controls)


@click.command()
@click.option("--solver", "choice", type=click.Choice(list(CHOICES)), default="both", show_default=True, help="Which solver is asked.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--export",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the obligations as SMT-LIB files with SHA-256 sums and a checker into this new or empty folder.",
)
@click.option("--controls", is_flag=True, help="Also prove that known mistakes are not proved, and show how long a run to each is.")
def prove(choice: str, as_json: bool, folder: Path | None, controls: bool) -> None:
    """Prove that the specification keeps its clauses, for any number of pages, channels and checkpoints.

    Proved too: every decision that the built-in receiver calls is what the rules and the wire tables say, for all inputs.

    Exit codes: 0 all is proved, 1 something is not, 2 it could not be run.
    """
    try:
        if folder is not None:
            _export(folder)
        proof = _prove([solver(name) for name in CHOICES[choice]], with_controls=controls)
    except SolverFailed as failed:
        click.echo(f"colofd: {failed}\nhint: `--solver z3` or `--solver cvc5` asks only one", err=True)
        sys.exit(2)
    click.echo(json.dumps(_json(proof), indent=2) if as_json else _text(proof))
    sys.exit(0 if proof.holds else 1)


def _export(folder: Path) -> None:
    try:
        export(BOTH_SIDES, obligations(SPEC), folder)
    except FileExistsError as error:
        raise click.BadParameter(f"{error}; name a new or an empty folder", param_hint="--export") from error


def _prove(solvers: Sequence[Solver], *, with_controls: bool) -> Proof:
    begin = time.perf_counter()
    asked = obligations(SPEC)
    answered = verdicts(BOTH_SIDES, asked, solvers)
    with click.progressbar(answered, length=len(asked), label="proving", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        found = list(bar)
    controls = list(control_results(solvers)) if with_controls else []
    return Proof(solvers, found, structural_faults(BOTH_SIDES), time.perf_counter() - begin, controls)


def _counts(proof: Proof) -> dict[Kind, tuple[int, int]]:
    """Return for each kind how many obligations are proved, and how many there are."""
    of_kind = {kind: [verdict.is_proved for verdict in proof.verdicts if verdict.obligation.kind is kind] for kind in Kind}
    return {kind: (sum(proved), len(proved)) for kind, proved in of_kind.items()}


def _slowest(proof: Proof) -> tuple[str, SolverName, float]:
    return max(
        ((verdict.obligation.name, name, seconds) for verdict in proof.verdicts for name, seconds in verdict.seconds.items()),
        key=lambda each: each[2],
    )


def _text(proof: Proof) -> str:
    name, by, seconds = _slowest(proof)
    lines = [f"specification {spec_sha256()}", f"solvers       {', '.join(f'{each.name} {each.version}' for each in proof.solvers)}"]
    lines += [f"{kind:13} {proved} of {count} proved" for kind, (proved, count) in _counts(proof).items()]
    lines += [f"{'structure':13} {fault}" for fault in proof.faults or ["no ghost decides anything, and sorts have no cycle"]]
    lines += controls_text(proof.controls) if proof.controls else []
    lines += [f"{proof.seconds:.1f} s; slowest: {name}, {by} {seconds:.3f} s"]
    lines += [f"not proved: {verdict.obligation.name} ({_said(verdict)})" for verdict in proof.unproved]
    total, unproved = len(proof.verdicts), len(proof.unproved)
    if proof.holds:
        return "\n".join([*lines, f"all {total} obligations are proved"])
    return "\n".join([*lines, f"NOT PROVED: {unproved} of {total}" if unproved else "NOT PROVED: see above"])


def _said(verdict: Verdict) -> str:
    answers = ", ".join(f"{name} says {answer}" for name, answer in verdict.answers.items())
    wrong = counterexample(verdict.obligation) if verdict.obligation.kind is Kind.DECISION else {}
    inputs = f"; with {', '.join(f'{name} = {value}' for name, value in wrong.items())}" if wrong else ""
    return f"{answers}; expected {verdict.obligation.expected}{inputs}"


def _json(proof: Proof) -> dict[str, Any]:
    name, by, seconds = _slowest(proof)
    return {
        "spec_sha256": spec_sha256(),
        "solvers": {each.name: each.version for each in proof.solvers},
        "holds": proof.holds,
        "counts": {kind: {"proved": proved, "all": count} for kind, (proved, count) in _counts(proof).items()},
        "structural_faults": list(proof.faults),
        "unproved": [
            {
                "name": verdict.obligation.name,
                "kind": verdict.obligation.kind,
                "expected": verdict.obligation.expected,
                "answers": verdict.answers,
            }
            for verdict in proof.unproved
        ],
        **({"controls": controls_json(proof.controls)} if proof.controls else {}),
        "seconds": round(proof.seconds, 3),
        "slowest": {"name": name, "solver": by, "seconds": round(seconds, 4)},
    }
