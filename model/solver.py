"""The two solvers: each reads the SMT-LIB text of an obligation and answers. Whatever is untyped of them stays in this module.

Effort is limited by the solver's own count of resources and not by time, so an answer does not depend on the machine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from colofd.model.proof_obligations import Answer

RESOURCES: Final = 3_000_000
"""Limit of each question, in each solver's own units."""


Ask: TypeAlias = Callable[[str], Answer]
"""Takes the text of an obligation and returns the answer."""


class SolverName(StrEnum):
    """The solvers that there are."""

    Z3 = "z3"
    CVC5 = "cvc5"


class SolverFailed(Exception):  # noqa: N818  # says what is the case
    """A solver is not installed, or does not understand a text."""


@dataclass(frozen=True)
class Solver:
    """A solver; `begin`, which can be sent to another process, begins a sequence of questions.

    Within a sequence a question may be answered faster, because names are known from those before it.
    The answer to a question depends on nothing but the sequence up to it.
    """

    name: SolverName
    version: str
    begin: Callable[[], Ask]

    def ask(self, text: str) -> Answer:
        """Return the answer to a single question."""
        return self.begin()(text)


def solver(name: SolverName) -> Solver:
    """Return a solver by its name; SolverFailed if it is not installed."""
    try:
        return _z3() if name is SolverName.Z3 else _cvc5()
    except ImportError as error:
        raise SolverFailed(f"the solver {name} is not installed: {error}") from error


def _z3() -> Solver:
    import z3  # noqa: PLC0415  # loaded when it is asked for

    return Solver(SolverName.Z3, z3.get_version_string(), z3_questions)


def _cvc5() -> Solver:
    import cvc5  # noqa: PLC0415  # loaded when it is asked for

    return Solver(SolverName.CVC5, cvc5.__version__, cvc5_questions)


def z3_questions() -> Ask:
    """Return what asks Z3; it raises SolverFailed if it does not understand the text."""
    import z3  # noqa: PLC0415  # loaded when it is asked for

    # A context takes longer to make than most questions take.
    context = z3.Context()

    def ask(text: str) -> Answer:
        question = z3.Solver(ctx=context)
        question.set("rlimit", RESOURCES)
        try:
            question.from_string(text)
        except z3.Z3Exception as error:
            raise SolverFailed(f"z3 does not understand the text: {error}") from error
        return Answer(str(question.check()))

    return ask


def cvc5_questions() -> Ask:
    """Return what asks cvc5; it raises SolverFailed if it does not understand the text."""

    def ask(text: str) -> Answer:
        answer, _ = _asked_cvc5(text, {})
        return answer

    return ask


def cvc5_proof(text: str) -> str | None:
    """Return cvc5's proof, in its format CPC, that there is no counter-example, or None where it gives none; SolverFailed as above."""
    options = {"produce-proofs": "true", "proof-format-mode": "cpc", "proof-granularity": "dsl-rewrite"}
    answer, question = _asked_cvc5(text, options)
    if answer is not Answer.NONE:
        return None
    said = [question.proofToString(proof) for proof in question.getProof()]
    return "".join(part.decode() if isinstance(part, bytes) else str(part) for part in said) or None


def _asked_cvc5(text: str, options: Mapping[str, str]) -> tuple[Answer, Any]:
    import cvc5  # noqa: PLC0415  # loaded when it is asked for

    question = cvc5.Solver()
    # All counter-examples are finite; without finite-model-find it would answer "unknown" where there is one.
    for option, value in {"rlimit-per": str(RESOURCES), "finite-model-find": "true", **options}.items():
        question.setOption(option, value)
    parser = cvc5.InputParser(question)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, "obligation")
    said = []
    try:
        while not (command := parser.nextCommand()).isNull():
            said.append(str(command.invoke(question, parser.getSymbolManager())).strip())
    except RuntimeError as error:
        raise SolverFailed(f"cvc5 does not understand the text: {error}") from error
    answer = "".join(said).partition(" ")[0]
    if answer not in set(Answer):
        raise SolverFailed(f"cvc5 does not understand the text: {' '.join(said)}")
    return Answer(answer), question
