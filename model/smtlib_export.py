"""The proof as a folder of files, to be checked without colofd: SMT-LIB texts, their SHA-256 and a short script."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from colofd.model.proof_obligations import AnyObligation
from colofd.model.smtlib import Writer
from colofd.spec.language import Spec

CHECKER: Final = """\
#!/bin/sh
# Ask a solver about every file here: SOLVER=z3 ./check.sh, or SOLVER="cvc5 --finite-model-find" ./check.sh
# Exit code 0: every answer is the expected one. Nothing of colofd is used.
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


def file_name(obligation: AnyObligation) -> str:
    """Return the name of an obligation's file: its kind, a slash, and its name without blanks and punctuation."""
    return f"{obligation.kind}/{re.sub(r'[^a-z0-9.]+', '-', obligation.name)}.smt2"


def export(spec: Spec, asked: Sequence[AnyObligation], folder: Path) -> None:
    """Write the files into `folder`, which is made; FileExistsError if something is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    writer = Writer(spec)
    sums = []
    for obligation in asked:
        name, content = file_name(obligation), writer.text(obligation).encode()
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    (folder / "SHA256SUMS").write_text("".join(sums))
    script = folder / "check.sh"
    script.write_text(CHECKER)
    script.chmod(0o755)
