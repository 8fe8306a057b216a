"""The texts of the spec as Python: what is legal there, and does not say what it seems to say."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from colofd import model, spec

TEXTS: Final = (
    *(Path(spec.__path__[0]) / name for name in ("state.py", "invariants.py", "both_sides.py", "receive_orders.py")),
    *(path for part in ("rules", "steps", "progress") for path in sorted((Path(spec.__path__[0]) / part).glob("*.py"))),
    *(Path(model.__path__[0]) / f"controls_{part}.py" for part in ("receive", "phases", "both_sides")),
)


def misread(text: str) -> Iterator[str]:
    """Yield each part of a text that Python reads in another way than people do, or that Python decides when it is imported."""
    wrong: list[ast.expr]
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr() | ast.RShift()):
                what = "in brackets, or Python takes it first"
                wrong = [each for each in (node.left, node.right) if isinstance(each, ast.BinOp) and isinstance(each.op, ast.RShift)]
            case ast.Compare(ops=[ast.Eq() | ast.NotEq()]):
                what = "in brackets, or Python compares it as a whole"
                wrong = [each for each in (node.left, *node.comparators) if isinstance(each, ast.BinOp)]
            case ast.Compare(ops=[ast.Is() | ast.IsNot(), *_], comparators=[ast.Constant(value=None)]):
                continue  # about an argument of a helper, and not about the state
            case ast.Compare(ops=[ast.In() | ast.NotIn() | ast.Is() | ast.IsNot(), *_]):
                what = "decided by Python"
                wrong = [node]
            case _:
                continue
        yield from (f"line {each.lineno}: {ast.unparse(each)} ({what})" for each in wrong if not _in_brackets(text, each))


def _in_brackets(text: str, node: ast.expr) -> bool:
    lines = text.splitlines(keepends=True)
    before = "".join([*lines[: node.lineno - 1], lines[node.lineno - 1].encode()[: node.col_offset].decode()]).rstrip()
    end = (node.end_lineno or node.lineno) - 1
    after = "".join([lines[end].encode()[node.end_col_offset or 0 :].decode(), *lines[end + 1 :]]).lstrip()
    return not isinstance(node, ast.Compare) and before.endswith("(") and after.startswith(")")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_texts_say_what_they_seem_to(path: Path) -> None:
    """Given a module of texts, then nothing in it is read by Python in another way than by people."""
    assert list(misread(path.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        "s.ready & s.dirty[page] >> s.clean",
        "s.ready >> s.dirty[page] >> s.clean",
        "s.ready | s.dirty[page] == s.clean",
        "s.clean != s.ready & s.dirty[page]",
        "s.dirty[page] = s.phase is Phase.FIRST",
        "s.when((s.phase in ALL))",
    ],
)
def test_what_is_misread_is_found(text: str) -> None:
    """Control: given a text that means something else than it seems to, then it is found."""
    assert len(list(misread(text))) == 1


@pytest.mark.parametrize("text", ["s.ready & (s.dirty[page] >> s.clean)", "(s.a & s.b) >> s.c", "s.a == (\n    s.b & s.c\n)", "x is None"])
def test_brackets_are_seen(text: str) -> None:
    """Given a text that says in brackets, or without need of any, what it means, then nothing is found."""
    assert list(misread(text)) == []
