"""The proof of the specification, and that a solver's silence or dissent is a failure."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from colofd.model import solver as solver_module
from colofd.model.proof import verdicts
from colofd.model.proof_obligations import Answer, Kind, obligations
from colofd.model.proof_touches import touches
from colofd.model.smtlib import Writer
from colofd.model.smtlib_export import export, file_name
from colofd.model.solver import Solver, SolverFailed, SolverName, cvc5_proof, solver
from colofd.spec.language import Actor, Expr, RuleBook, Spec, where
from colofd.spec.protocol import SPEC
from colofd.spec.state import Page, Phase, Value, World

SOLVERS = tuple(SolverName)
SOME = obligations(SPEC)[::60]
"""A few obligations of all kinds but the rarest, for tests that need not prove anything."""


def spec_of(book: RuleBook[World]) -> Spec:
    return Spec(SPEC.state, SPEC.initial, tuple(book), SPEC.clauses)


def test_obligations_have_different_names_and_files() -> None:
    """Given all obligations, then no two share a name, or the name of a file."""
    every = obligations(SPEC)
    assert len({obligation.name for obligation in every}) == len({file_name(obligation) for obligation in every}) == len(every)


def test_the_text_of_an_obligation_is_smt_lib() -> None:
    """Given the smallest invariant's initiation, then its text declares what it uses, asserts the denied goal, and asks once."""
    (guest_runs,) = (each for each in obligations(SPEC) if each.name == "initially phase.guest-runs")
    text = Writer(SPEC).text(guest_runs)
    assert "(declare-fun packet (Channel Page) Carried)" in text
    assert "(assert (not (= guest_running (or" in text
    assert text.startswith("; initially phase.guest-runs (initiation)\n; expected: unsat\n(set-logic UFDT)\n")
    assert text.count("(check-sat)") == 1


def test_the_steps_that_touch_memory_are_known() -> None:
    """Given all rules, then these touch the cache, and writing the old value back is no touch."""
    touching = {rule.id: len(touches(rule, "cache")) for rule in SPEC.rules if touches(rule, "cache")}
    assert touching == {
        "receive.zero-page": 3,
        "receive.read-part": 1,
        "receive.read-page": 1,
        "receive.mirror": 1,
        "main.zero-page": 1,
        "main.read-part": 1,
        "main.read-page": 1,
        "main.mirror": 1,
        "checkpoint.flush-page": 1,
    }


def test_a_branch_is_touched_under_its_condition() -> None:
    """Given a write of `where(a, new, old)` and one of `where(a, old, new)`, then each is one touch, under `a` and under its denial."""
    book = RuleBook(World)

    @book.rule("then", by=Actor.RECEIVER, source="test")
    def then(s: World, page: Expr[Page], value: Expr[Value]) -> None:
        """Written where COLO is on."""
        s.cache[page] = where(s.colo, value, s.cache[page])

    @book.rule("otherwise", by=Actor.RECEIVER, source="test")
    def otherwise(s: World, page: Expr[Page], value: Expr[Value]) -> None:
        """Written where COLO is off."""
        s.cache[page] = where(s.colo, s.cache[page], value)

    first, second = (touches(rule, "cache") for rule in book)
    assert [[type(condition).__name__ for condition in path] for path in first] == [["Read"]]
    assert [[type(condition).__name__ for condition in path] for path in second] == [["Not"]]


@pytest.mark.parametrize("name", SOLVERS)
def test_an_impossible_rule_is_found(name: SolverName) -> None:
    """Control: given a rule whose guards contradict a clause, then it keeps every clause and yet is not proved: it is never possible."""
    book = RuleBook(World)

    @book.rule("impossible", by=Actor.RECEIVER, source="test")
    def impossible(s: World) -> None:
        """The guest runs in a flush."""
        s.when(s.guest_running, s.phase == Phase.FLUSHING)

    spec = spec_of(book)
    failing = [each.obligation.name for each in verdicts(spec, obligations(spec), [solver(name)]) if not each.is_proved]
    assert failing == ["impossible is possible"]


@pytest.mark.parametrize("name", SOLVERS)
def test_a_limit_of_resources_is_a_failure(monkeypatch: pytest.MonkeyPatch, name: SolverName) -> None:
    """Given a limit that is too low, then the solver does not know, and the obligation is not proved."""
    monkeypatch.setattr(solver_module, "RESOURCES", 5)
    (hard,) = (each for each in obligations(SPEC) if each.name == "receive.mirror keeps receive.landed-content")
    (verdict,) = verdicts(SPEC, [hard], [solver(name)])
    assert verdict.answers == {name: Answer.UNKNOWN}
    assert not verdict.is_proved


def answering(name: SolverName, answer: Answer) -> Solver:
    return Solver(name, "0", lambda: lambda _text: answer)


@pytest.mark.parametrize(
    ("first", "second", "is_proved"),
    [
        (Answer.NONE, Answer.NONE, True),
        (Answer.NONE, Answer.SOME, False),
        (Answer.NONE, Answer.UNKNOWN, False),
        (Answer.SOME, Answer.SOME, False),
    ],
)
def test_only_agreement_is_a_proof(first: Answer, second: Answer, is_proved: bool) -> None:
    """Given two solvers, then an obligation is proved only if both give the expected answer."""
    solvers = [answering(SolverName.Z3, first), answering(SolverName.CVC5, second)]
    (verdict,) = verdicts(SPEC, [next(each for each in SOME if each.kind is not Kind.VACUITY)], solvers)
    assert verdict.is_proved is is_proved


@pytest.mark.parametrize("name", SOLVERS)
def test_a_text_that_is_not_understood_is_an_error(name: SolverName) -> None:
    """Given a text with an undeclared name, then SolverFailed is raised and no answer given."""
    with pytest.raises(SolverFailed, match="does not understand the text"):
        solver(name).ask("(set-logic UFDT)\n(assert undeclared)\n(check-sat)\n")


def test_the_export_can_be_checked_without_colofd(tmp_path: Path) -> None:
    """Given an export, when its script asks the z3 program, then all is well; and no more if a file has changed, or a text says sat."""
    folder = tmp_path / "proof"
    export(SPEC, SOME, folder)

    def check() -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).parent / "z3"
        environment = {"SOLVER": str(program), "PATH": "/usr/bin:/bin"}
        return subprocess.run([folder / "check.sh"], env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603  # our own script

    assert (check().returncode, check().stdout) == (0, "")
    changed = folder / file_name(SOME[1])
    text = changed.read_text()
    changed.write_text(text.replace("(assert (not ", "(assert (or true "))
    assert check().returncode != 0
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(hashlib.sha256(text.encode()).hexdigest(), hashlib.sha256(changed.read_bytes()).hexdigest()))
    assert (check().returncode, check().stdout) == (1, f"{file_name(SOME[1])}: sat instead of unsat\n")


def test_the_export_needs_an_empty_folder(tmp_path: Path) -> None:
    """Given a folder with something in it, then nothing is exported there."""
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is not empty"):
        export(SPEC, SOME, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_export_has_cvc5s_proofs(tmp_path: Path) -> None:
    """Given obligations that say "unsat" and one that says "sat", when proofs are wanted, then each of the former has one without a gap."""
    asked = [*SOME[:3], next(each for each in obligations(SPEC) if each.expected is Answer.SOME)]
    said = export(SPEC, asked, tmp_path / "proof", with_proofs=True)
    assert (said.obligations, said.unsat, said.proofs, said.gapless) == (4, 3, 3, 3)
    proofs = [tmp_path / "proof" / file_name(each).replace(".smt2", ".cpc") for each in asked]
    assert [path.exists() for path in proofs] == [True, True, True, False]
    assert ":rule " in proofs[0].read_text()
    assert (tmp_path / "proof" / "SHA256SUMS").read_text().count(".cpc\n") == 3


def test_what_is_not_so_has_no_proof() -> None:
    """Control: given a text whose answer is "sat", then cvc5 gives no proof."""
    assert cvc5_proof("(set-logic UFDT)\n(declare-const a Bool)\n(assert a)\n(check-sat)\n") is None
