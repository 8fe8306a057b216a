"""The proof as a folder of files, to be checked without colofd: SMT-LIB texts, their SHA-256, a short script, and cvc5's own proofs."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from colofd.model.processes import in_processes
from colofd.model.proof_obligations import Answer, AnyObligation
from colofd.model.smtlib import Writer
from colofd.model.solver import cvc5_proof
from colofd.spec.language import Spec

CHECKER: Final = """\
#!/bin/sh
# Ask a solver about every file here: SOLVER=z3 ./check.sh, or SOLVER="cvc5 --finite-model-find" ./check.sh
# Exit code 0: every answer is the expected one. Nothing of colofd is used.
# A .cpc file is cvc5's proof of the .smt2 file beside it. The checker ethos reads it after a line that includes the rules of CPC:
#   (echo '(include "CVC5/proofs/eo/cpc/Cpc.eo")'; cat FILE.cpc) > proof && ethos proof
set -eu
cd "$(dirname "$0")"
sha256sum --check --quiet SHA256SUMS
failed=0
for file in */*.smt2; do
    expected=$(sed -n 's/^; expected: //p' "$file")
    answer=$(${SOLVER:-z3} "$file") || true
    if [ "$answer" != "$expected" ]; then
        echo "$file: $answer instead of $expected"
        failed=1
    fi
done
exit $failed
"""

_TRUSTED: Final = ":rule trust"
"""A step that cvc5 has taken and does not explain."""


@dataclass(frozen=True)
class Exported:
    """What was written: texts of `obligations`, and for how many of those that say "unsat" (`unsat`) cvc5 has given a proof.

    `gapless` are the proofs in which cvc5 explains every step.
    """

    obligations: int
    unsat: int
    proofs: int = 0
    gapless: int = 0


def file_name(obligation: AnyObligation) -> str:
    """Return the name of an obligation's file: its kind, a slash, and its name without blanks and punctuation."""
    return f"{obligation.kind}/{re.sub(r'[^a-z0-9.]+', '-', obligation.name)}.smt2"


def export(spec: Spec, asked: Sequence[AnyObligation], folder: Path, *, with_proofs: bool = False) -> Exported:
    """Write the files into `folder`, which is made; FileExistsError if something is in it, SolverFailed if cvc5 does not understand one.

    Args:
        spec: what the obligations are about.
        asked: the obligations.
        folder: where to.
        with_proofs: beside each text that says "unsat", write cvc5's proof of it, in cvc5's format CPC, if it gives one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    writer = Writer(spec)
    files = {file_name(obligation): writer.text(obligation) for obligation in asked}
    unsat = [file_name(obligation) for obligation in asked if obligation.expected is Answer.NONE]
    given = dict(zip(unsat, in_processes(cvc5_proof, [files[name] for name in unsat]), strict=True)) if with_proofs else {}
    proofs = {name.removesuffix(".smt2") + ".cpc": proof for name, proof in given.items() if proof is not None}
    sums = [_written(folder / name, text) for name, text in {**files, **proofs}.items()]
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for digest, name in zip(sums, [*files, *proofs], strict=True)))
    script = folder / "check.sh"
    script.write_text(CHECKER)
    script.chmod(0o755)
    return Exported(len(files), len(unsat), len(proofs), sum(_TRUSTED not in proof for proof in proofs.values()))


def _written(path: Path, text: str) -> str:
    """Write a file, and return its SHA-256 in hex."""
    content = text.encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
