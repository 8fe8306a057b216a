"""Texts that mean nothing: each fails when it is imported, with the rule's id and the line that is wrong."""

import runpy
from pathlib import Path

import pytest

from colofd.spec.language import SpecError

HEAD = """
from enum import Enum
from colofd.spec.language import *

class Page(Index):
    pass

class Channel(Index):
    pass

class Phase(Enum):
    FIRST = 1
    SECOND = 2

class Colour(Enum):
    FIRST = 1

class World(State):
    phase = Scalar(Phase, "A phase.")
    ready = Scalar(bool, "A truth value.")
    dirty = Map(Page, bool, "A bitmap.")
    packet = Relation(Channel, Page, bool, "A relation.")

rules = RuleBook(World)
clauses = ClauseBook(World)
ANYWHERE = dict(by=Actor.RECEIVER, source="file.c:function")

OTHER = Parameter("other", Page)
CHANNEL = Constant("channel", Channel)

def advances(s):
    return s.phase == Colour.FIRST  # wrong in a helper
"""

RULE = '''
@rules.rule("the.rule", **ANYWHERE)
def text(s: World, page: Expr[Page]) -> None:
    """What it does."""
    s.when(s.ready)
    {line}  # wrong
    s.ready = False
'''

NO_TRUTH = "an expression has no truth value"
NO_LOOKUP = "an expression cannot be looked up in a set or a dict"
BY_PYTHON = "is decided by Python and not by the state"

WRONG_LINES = {
    "if": ("if s.ready: s.phase = Phase.FIRST", NO_TRUTH),
    "and": ("s.when(s.ready and s.dirty[page])", NO_TRUTH),
    "or": ("s.when(s.ready or s.dirty[page])", NO_TRUTH),
    "not": ("s.when(not s.ready)", NO_TRUTH),
    "chained comparison": ("s.when(Phase.FIRST == s.phase == Phase.SECOND)", NO_TRUTH),
    "conditional expression": ("s.phase = Phase.FIRST if s.ready else Phase.SECOND", NO_TRUTH),
    "membership": ("s.when(s.phase in (Phase.FIRST, Phase.SECOND))", NO_TRUTH),
    "other enumeration": ("s.when(s.phase == Colour.FIRST)", "Colour.FIRST: 1> is no Phase"),
    "number for a truth value": ("s.ready = 1", "1 is no bool"),
    "page for a phase": ("s.phase = page", "Page used where Phase is needed"),
    "key of another sort": ("s.packet[page, page] = True", "Page used where Channel is needed"),
    "one key of two": ("s.when(s.packet[page])", "packet has 2 keys"),
    "branches of two sorts": ("s.phase = where(s.ready, s.phase, page)", "Page used where Phase is needed"),
    "guard of another sort": ("s.when(s.phase)", "Phase used where bool is needed"),
    "name of an unbounded sort": ("s.dirty['page'] = True", "'page' is no Page"),
    "unknown cell read": ("s.when(s.redy)", "no cell 'redy' in World"),
    "unknown cell written": ("s.redy = True", "no cell 'redy' in World"),
    "map written without a key": ("s.dirty = True", "dirty has a key"),
    "relation written without a key": ("s.packet = True", "packet has keys"),
    "two writes of a scalar": ("s.phase = Phase.FIRST; s.phase = Phase.SECOND", "phase is written twice"),
    "two writes of a map": ("s.dirty[page] = True; s.dirty[:] = False", "dirty is written twice"),
    "membership in a set": ("s.when(s.phase in {Phase.FIRST, Phase.SECOND})", NO_LOOKUP),
    "no membership in a set": ("s.when(s.phase not in {Phase.FIRST, Phase.SECOND})", NO_LOOKUP),
    "value from a dict": ("s.phase = {Phase.FIRST: Phase.SECOND}.get(s.phase, Phase.FIRST)", NO_LOOKUP),
    "identity": ("s.when(s.phase is Phase.FIRST)", BY_PYTHON),
    "no identity": ("s.when(s.phase is not Phase.FIRST)", BY_PYTHON),
    "membership of itself": ("s.when(page in (page,))", BY_PYTHON),
    "all of nothing": ("s.when(all(s.dirty[q] for q in ()))", BY_PYTHON),
    "truth value as an operand": ("s.when(s.ready | any(()))", BY_PYTHON),
    "truth value as a condition": ("s.phase = where(s.phase is Phase.FIRST, s.phase, Phase.FIRST)", BY_PYTHON),
    "truth value in a quantifier": ("s.when(every(Page)(lambda q: q is page))", BY_PYTHON),
    "slice with ends": ("s.dirty[page:page] = False", "written for one key, or as dirty[:] for all"),
    "read below its write": (
        "s.phase = Phase.SECOND; s.dirty[page] = s.phase == Phase.SECOND",
        "phase is read below the line that writes it",
    ),
    "map read below its write": ("s.dirty[page] = True; s.packet[CHANNEL, page] = s.dirty[page]", "dirty is read below the line"),
    "in a lambda": ("s.dirty[:] = lambda q: s.dirty[q] and s.ready", NO_TRUTH),
    "in a quantifier": ("s.when(every(Page)(lambda q: not s.dirty[q]))", NO_TRUTH),
}


def failure(tmp_path: Path, text: str) -> tuple[str, Path]:
    """Import `text` and return the message of the SpecError that it raises, and the file."""
    path = tmp_path / "wrong_rules.py"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        runpy.run_path(str(path))
    return str(caught.value), path


def line_with(text: str, marker: str) -> int:
    """Return the number of the one line that ends with `marker`."""
    (number,) = (number for number, line in enumerate(text.splitlines(), 1) if line.endswith(marker))
    return number


@pytest.mark.parametrize("case", WRONG_LINES)
def test_a_wrong_line_is_named(tmp_path: Path, case: str) -> None:
    """Given a rule with one line that means nothing, when it is imported, then SpecError names the rule, the fault and that line."""
    line, fault = WRONG_LINES[case]
    text = HEAD + RULE.format(line=line)
    message, path = failure(tmp_path, text)
    assert message.startswith("the.rule: ")
    assert fault in message
    assert message.endswith(f"({path}:{line_with(text, '# wrong')})")


ESCAPED = "kept = []; s.when(every(Page)(lambda q: kept.append(q) or s.dirty[q])); s.dirty[kept[0]] = True"


@pytest.mark.parametrize("line", ["s.when(s.dirty[OTHER])", "s.dirty[OTHER] = True", "s.dirty[:] = lambda q: s.dirty[OTHER]", ESCAPED])
def test_a_variable_of_another_text_is_refused(tmp_path: Path, line: str) -> None:
    """Given a rule with a variable that neither it nor a quantifier around it has, then SpecError names both."""
    message, _ = failure(tmp_path, HEAD + RULE.format(line=line))
    assert message.startswith(f"the.rule: {'q' if line is ESCAPED else 'other'} is used outside of what it is a variable of")


@pytest.mark.parametrize("line", ["pass", "s.phase = where(s.ready, s.phase, s.phase)", "s.dirty[:] = lambda q: s.dirty[q] & s.ready"])
def test_a_right_line_is_accepted(tmp_path: Path, line: str) -> None:
    """Control: given the same rule with a line that means something, then its import succeeds and keeps one rule."""
    path = tmp_path / "right_rules.py"
    path.write_text(HEAD + RULE.format(line=line))
    (rule,) = runpy.run_path(str(path))["rules"]
    assert rule.id == "the.rule"


def test_the_line_of_a_helper_is_named(tmp_path: Path) -> None:
    """Given a rule whose helper, defined above it, is wrong, then the helper's line is named and not the call."""
    text = HEAD + RULE.format(line="s.when(advances(s))")
    message, path = failure(tmp_path, text)
    assert message.startswith("the.rule: ")
    assert message.endswith(f"({path}:{line_with(text, '# wrong in a helper')})")


def test_the_line_of_a_helper_in_another_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a rule whose helper stands in another module, then the file and the line of the helper are named."""
    helper = tmp_path / "helper_of_a_rule.py"
    helper.write_text("def is_ready(s):\n    return (\n        s.ready and s.ready\n    )\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    message, _ = failure(tmp_path, HEAD + "from helper_of_a_rule import is_ready\n" + RULE.format(line="s.when(is_ready(s))"))
    assert message.startswith("the.rule: ")
    assert message.endswith(f"({helper}:3)")


INCOMPLETE = {
    "docstring": '@rules.rule("the.rule", **ANYWHERE)\ndef text(s: World) -> None:  # wrong\n    s.ready = True\n',
    "id": '@rules.rule("", **ANYWHERE)  # wrong\ndef text(s: World) -> None:\n    """It."""\n',
    "source": '@rules.rule("the.rule", by=Actor.GUEST, source=" ")  # wrong\ndef text(s: World) -> None:\n    """It."""\n',
}


@pytest.mark.parametrize("what", INCOMPLETE)
def test_an_incomplete_rule_is_refused(tmp_path: Path, what: str) -> None:
    """Given a rule without docstring, id or source, then SpecError names the rule, by its function if it has no id, and where it begins."""
    text = HEAD + INCOMPLETE[what]
    message, path = failure(tmp_path, text)
    assert message == f"{'text' if what == 'id' else 'the.rule'}: it has no {what} ({path}:{line_with(text, '# wrong')})"


@pytest.mark.parametrize("parameter", ["page", "page: Page", "page: Expr[int]", "page: Expr"])
def test_a_parameter_needs_an_annotation(tmp_path: Path, parameter: str) -> None:
    """Given a parameter without a sort, then SpecError names the rule, the parameter and the line of `def`."""
    text = HEAD + f'@rules.rule(\n    "the.rule",\n    **ANYWHERE,\n)\ndef text(s: World, {parameter}) -> None:  # wrong\n    """It."""\n'
    message, path = failure(tmp_path, text)
    assert message == f"the.rule: parameter page needs an annotation such as Expr[Page] ({path}:{line_with(text, '# wrong')})"


CLAUSE = '''
@clauses.clause("the.clause", source="file.c:function")
def formula(s: World) -> Expr[bool]:
    """What holds."""
    {line}  # wrong
    return s.ready
'''


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("s.ready = True", "a clause writes nothing"),
        ("s.dirty[:] = True", "a clause writes nothing"),
        ("s.when(s.ready)", "a clause has no guards"),
        ("return s.phase", "Phase used where bool is needed"),
        ("if s.ready: pass", NO_TRUTH),
    ],
)
def test_a_clause_only_reads(tmp_path: Path, line: str, fault: str) -> None:
    """Given a clause that writes, has a guard, or is no formula, then SpecError names it and the line (of a wrong sort, the `def`)."""
    text = HEAD + CLAUSE.format(line=line)
    message, path = failure(tmp_path, text)
    expected = line_with(text, "def formula(s: World) -> Expr[bool]:") if line.startswith("return") else line_with(text, "# wrong")
    assert message.startswith("the.clause: ")
    assert fault in message
    assert message.endswith(f"({path}:{expected})")


def test_an_id_is_taken_once(tmp_path: Path) -> None:
    """Given a rule and a clause with the same id, when they are put together, then SpecError names the id and both lines."""
    rule = RULE.format(line="pass")
    clause = CLAUSE.format(line="pass").replace("the.clause", "the.rule")
    text = HEAD + rule + clause + "Spec(World, *clauses, tuple(rules), tuple(clauses))\n"
    message, path = failure(tmp_path, text)
    first, second = (
        line_with(text, marker)
        for marker in ('@rules.rule("the.rule", **ANYWHERE)', '@clauses.clause("the.rule", source="file.c:function")')
    )
    assert message == f"the.rule: this id is taken by {path}:{first} ({path}:{second})"
