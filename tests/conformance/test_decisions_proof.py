"""The receiver's decisions are proved: the objects that it calls, and no wrong one."""

import ast
import dis
import importlib
import inspect
import pkgutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

import numpy as np
import pytest
from click.testing import CliRunner

from colofd import impl
from colofd.conformance import prove_command
from colofd.conformance.decisions import CLAIMS, Decision
from colofd.conformance.decisions_proof import counterexample, decision_obligations, obligations
from colofd.conformance.schedules import VARIANTS, main_channel_pages, run_directed, zero_after_normal_in_checkpoint
from colofd.conformance.smtlib_numbers import Natural, Truth, Unsigned, condition, literal, natural
from colofd.conformance.subjects import SUBJECTS
from colofd.conformance.violation import Violation
from colofd.impl import decisions
from colofd.model.proof import verdicts
from colofd.model.proof_obligations import AnyObligation, Kind, TextObligation
from colofd.model.smtlib_export import export, file_name
from colofd.model.solver import SolverName, solver
from colofd.spec.language import SpecError
from colofd.spec.protocol import SPEC
from colofd.spec.state import World
from colofd.spec.wire.expressions import Name

DECISIONS: Final = list(CLAIMS)
ON_NUMBERS: Final = {decisions.is_aligned, decisions.fits}
ON_BITS: Final = [decision for decision in DECISIONS if decision not in ON_NUMBERS]
SCHEDULES: Final = (zero_after_normal_in_checkpoint, main_channel_pages)
OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Sub: ast.Add}


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


def unproved(asked: list[AnyObligation], name: SolverName) -> list[str]:
    return [each.obligation.name for each in verdicts(SPEC, asked, [solver(name)]) if not each.is_proved]


def negated(decision: Decision) -> Decision:
    def wrong(*values: Any, **named: Any) -> Any:
        return ~decision(*values, **named)

    wrong.__name__ = decision.__name__
    return wrong


# What is proved is what runs.


def receiver_modules() -> list[ModuleType]:
    return [importlib.import_module(f"{impl.__name__}.{module.name}") for module in pkgutil.iter_modules(impl.__path__)]


def code_within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_within(constant)


def calls_of_decisions(module: ModuleType) -> set[str]:
    """Return which attributes of the global `decisions` the bytecode of a module reads."""
    code = compile(inspect.getsource(module), str(module.__file__), "exec")
    pairs = (pair for each in code_within(code) for pair in pairwise(dis.get_instructions(each)))
    return {str(attribute.argval) for target, attribute in pairs if target.opname == "LOAD_GLOBAL" and target.argval == "decisions"}


def test_every_decision_is_claimed() -> None:
    """Given the module of decisions, then each public function of it is claimed something of, as the very object, and nothing else."""
    public = {value for name, value in vars(decisions).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert set(CLAIMS) == public


def test_the_receiver_calls_what_is_proved() -> None:
    """Given the bytecode of all modules, then it calls every decision, as an attribute of the one module whose functions are proved."""
    called = {module.__name__.rpartition(".")[2]: calls_of_decisions(module) for module in receiver_modules()}
    assert {name: calls for name, calls in called.items() if calls} == {
        "channel": {"packet_lands_in_guest", "packet_clears"},
        "colo": {"is_flushed"},
        "packet": {"is_aligned", "fits"},
        "runs": {"is_aligned", "fits"},
        "reception": {"accepts_pages", "is_recorded", "is_mirrored"},
        "records": {"fits", "record_clears", "record_lands_in_guest"},
    }
    for module in receiver_modules():
        if module is not decisions:
            assert vars(module).get("decisions", decisions) is decisions, module
            assert not [name for name, value in vars(module).items() if inspect.isfunction(value) and value in CLAIMS], module


def run_schedules() -> None:
    for schedule in SCHEDULES:
        run_directed(SUBJECTS["impl"], schedule, VARIANTS[0])


def test_the_receiver_goes_through_with_its_decisions() -> None:
    """Given the decisions as they are, when the schedules of the next test run, then nothing is violated."""
    run_schedules()


@pytest.mark.parametrize("decision", DECISIONS, ids=name_of)
def test_a_wrong_decision_is_seen_in_lockstep(monkeypatch: pytest.MonkeyPatch, decision: Decision) -> None:
    """Control: given the opposite of one decision in its place, when schedules run beside the model, then one of them is violated."""
    monkeypatch.setattr(decisions, decision.__name__, negated(decision))
    with pytest.raises(Violation):
        run_schedules()


# A wrong decision is refuted.


class OneChange(ast.NodeTransformer):
    """Changes the operator with this number in the text of a function; `is_changed` says whether there was one."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.is_changed = False

    def _is_here(self) -> bool:
        self._left -= 1
        self.is_changed = self.is_changed or self._left == -1
        return self._left == -1

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Exchange & and |, or make a difference a sum."""
        if self._is_here():
            return ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        return self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Drop a ~."""
        return node.operand if self._is_here() else self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Exchange the two sides of <=."""
        if self._is_here():
            return ast.Compare(node.comparators[0], node.ops, [node.left])
        return self.generic_visit(node)


def with_change(decision: Decision, number: int) -> Decision | None:
    """Return a copy of a decision with one operator changed; None if it has no more."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(decision)))
    change = OneChange(number)
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    # Its annotations are no operators of the decision.
    function.body = [change.visit(statement) for statement in function.body]
    if not change.is_changed:
        return None
    names = dict(vars(decisions))
    exec(compile(ast.fix_missing_locations(tree), "<mutant>", "exec"), names)  # noqa: S102  # our own text, changed in one place
    mutant: Decision = names[decision.__name__]
    return mutant


def changed_copies(decision: Decision) -> list[Decision]:
    copies: list[Decision] = []
    while (mutant := with_change(decision, len(copies))) is not None:
        copies.append(mutant)
    return copies


MUTANTS: Final = [
    pytest.param(decision, mutant, id=f"{decision.__name__}-{number}")
    for decision in DECISIONS
    for number, mutant in enumerate(changed_copies(decision))
]


def run_on(decision: Decision, inputs: dict[str, bool | int]) -> list[bool]:
    """Return what a decision says about inputs as they are in memory; what Z3 leaves open is 0."""
    names = inspect.signature(decision).parameters
    kind = np.uint64 if "page_size" in inputs or "offset" in inputs else np.bool_
    answer: list[bool] = decision(**{name: np.array([inputs.get(name, 0)], kind) for name in names}).tolist()
    return answer


def test_there_are_mutants() -> None:
    """Given all decisions, then those with an operator have mutants, and these many."""
    assert {decision.__name__: len(changed_copies(decision)) for decision in DECISIONS} == {
        "accepts_pages": 2,
        "is_mirrored": 3,
        "is_recorded": 2,
        "packet_lands_in_guest": 1,
        "record_lands_in_guest": 2,
        "packet_clears": 0,
        "record_clears": 2,
        "is_flushed": 1,
        "is_aligned": 3,
        "fits": 4,
    }


@pytest.mark.parametrize(("decision", "mutant"), MUTANTS)
def test_a_mutant_is_refuted(decision: Decision, mutant: Decision) -> None:
    """Control: given a decision with one operator changed, then both solvers refute it, and on the inputs shown it differs when run."""
    asked = list(CLAIMS[decision](mutant))
    refuted = [unproved(asked, name) for name in SolverName]
    assert refuted[0] == refuted[1] != []
    wrong = next(each for each in asked if each.name == refuted[0][0])
    inputs = counterexample(wrong)
    assert run_on(decision, inputs) != run_on(mutant, inputs), f"{wrong.name}: refuted with {inputs}, but run they are the same"


@pytest.mark.parametrize("name", SolverName)
def test_no_obligation_is_empty(name: SolverName) -> None:
    """Control: given the opposite of every decision, then every single obligation is refuted, so none holds whatever is decided."""
    asked = [obligation for decision, claim in CLAIMS.items() for obligation in claim(negated(decision))]
    assert unproved(asked, name) == [obligation.name for obligation in asked]


def test_what_is_proved_has_no_counterexample() -> None:
    """Given the decisions as they are, then there are no inputs that refute them."""
    assert [each.name for each in decision_obligations() if counterexample(each)] == []


def adding(offset: Any, length: Any, page_size: Any) -> Any:
    """Tell whether pages fit as one should not: the sum wraps around."""
    return offset + page_size <= length


def asking_late(colo: Any, precopy: Any, deferred: Any) -> Any:
    """Decide about mirroring without the phase."""
    del precopy
    return colo & ~deferred


WRONG: Final = (
    (decisions.fits, adding, "fits is the check wire.packet.offset-range"),
    (decisions.is_mirrored, asking_late, "is_mirrored is the latch of receive.prepare"),
)


@pytest.mark.parametrize(("decision", "wrong", "claim"), WRONG, ids=name_of)
def test_the_command_shows_the_inputs(monkeypatch: pytest.MonkeyPatch, decision: Decision, wrong: Decision, claim: str) -> None:
    """Given a wrong decision, when proved, then the exit code is 1, and inputs are printed with which it differs when it is run."""
    wrong.__name__ = decision.__name__
    (asked, *_) = CLAIMS[decision](wrong)
    monkeypatch.setattr(prove_command, "obligations", lambda _spec: [asked])
    result = CliRunner().invoke(prove_command.prove, ["--solver", "z3"])
    inputs = counterexample(asked)
    shown = ", ".join(f"{name} = {value}" for name, value in inputs.items())
    assert set(inspect.signature(decision).parameters) >= set(inputs) != set()
    assert f"not proved: {claim} (z3 says sat; expected unsat)\n  if {shown}\n" in result.stdout
    assert "decision      0 of 1 proved" in result.stdout
    assert result.exit_code == 1
    assert run_on(decision, inputs) != run_on(wrong, inputs)


# The obligations.


def test_decisions_are_among_all_obligations() -> None:
    """Given all obligations, then those of the decisions come last, each decision has one, and names and files are all different."""
    every = obligations(SPEC)
    own = every[-len(decision_obligations()) :]
    assert {obligation.kind for obligation in own} == {Kind.DECISION}
    assert Kind.DECISION not in {obligation.kind for obligation in every[: -len(own)]}
    assert {obligation.name.partition(" ")[0] for obligation in own} == {decision.__name__ for decision in DECISIONS}
    assert len({obligation.name for obligation in every}) == len({file_name(obligation) for obligation in every}) == len(every)


def test_decisions_can_be_checked_without_colofd(tmp_path: Path) -> None:
    """Given an export of some decisions, on bits and on numbers, when its script asks the z3 program, then every answer is as expected."""
    asked = decision_obligations()[::8]
    assert {isinstance(each, TextObligation) for each in asked} == {False, True}
    export(SPEC, asked, tmp_path / "proof")
    environment = {"SOLVER": str(Path(sys.executable).parent / "z3"), "PATH": "/usr/bin:/bin"}
    checker = tmp_path / "proof" / "check.sh"
    done = subprocess.run([checker], env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603  # our own script
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Terms that cannot be misread.


def test_a_term_has_no_truth_value() -> None:
    """Given a decision written with `and`, `or`, `not`, `==`, `<` or a plain int, when traced, then it is refused and not misread."""
    number, truth = Unsigned("offset"), Truth("is_new")
    misread: list[Callable[[], object]] = [
        lambda: truth and truth,
        lambda: not truth,
        lambda: number == number,  # noqa: PLR0124  # what is refused
        lambda: number <= 0,
        lambda: number & 1,
        lambda: truth & True,
        lambda: number & truth,
        lambda: number & np.array([1], np.uint64),
        lambda: number <= number <= number,  # noqa: PLR0124  # likewise
    ]
    for misreading in misread:
        with pytest.raises(TypeError):
            misreading()
    with pytest.raises(SpecError):
        bool(World().colo & World().deferred)


def test_numbers_of_the_wire_do_not_wrap_around() -> None:
    """Given a sum of two numbers of 64 bits, then it has 65 bits; what is not understood is an error and not left out."""
    values = {"element": Natural("a"), "page_size": Natural("b")}
    total = natural(Name("element") + Name("page_size"), values)
    assert total == Natural("(bvadd ((_ zero_extend 1) a) ((_ zero_extend 1) b))", 65)
    assert literal(4096) == Natural("(_ bv4096 13)", 13)
    with pytest.raises(ValueError, match="is no number"):
        natural(Name("element") * Name("page_size"), values)
    with pytest.raises(ValueError, match="is no condition"):
        condition(Name("element") < Name("page_size"), values)


# What may go in.


def arity(decision: Decision) -> int:
    return len(inspect.signature(decision).parameters)


@pytest.mark.parametrize("decision", DECISIONS, ids=name_of)
def test_python_numbers_are_refused_at_every_place(decision: Decision) -> None:
    """Given arrays but for one Python bool or int, at any place, then the decision refuses."""
    kind = np.uint64 if decision in ON_NUMBERS else np.bool_
    for place, value in product(range(arity(decision)), (True, False, 0, 4096)):
        inputs: list[Any] = [np.array([1], kind) for _ in range(arity(decision))]
        inputs[place] = value
        with pytest.raises(TypeError, match=r"np\."):
            decision(*inputs)


@pytest.mark.parametrize("decision", DECISIONS, ids=name_of)
def test_no_pages_make_no_answers(decision: Decision) -> None:
    """Given empty arrays, then the answer is an empty array of bits."""
    kind = np.uint64 if decision in ON_NUMBERS else np.bool_
    answer = decision(*[np.zeros(0, kind)] * arity(decision))
    assert (answer.dtype, answer.shape) == (np.bool_, (0,))


@pytest.mark.parametrize("decision", ON_BITS, ids=name_of)
def test_arrays_and_scalars_decide_alike(decision: Decision) -> None:
    """Given the whole truth table as columns, then each row is answered as its scalars are, with np.bool_ in and out."""
    table = np.array(list(product((False, True), repeat=arity(decision))), np.bool_)
    answers = decision(*table.T)
    assert answers.dtype == np.bool_
    singly = [decision(*row) for row in table]
    assert all(isinstance(answer, np.bool_) for answer in singly)
    assert answers.tolist() == singly
