"""Cards of the wire: records, checks, and the reasons to refuse an input."""

import ast
import inspect
import itertools
from collections.abc import Iterator, Mapping
from functools import cache

from colofd.conformance.card import Card, filled, formula, references, words
from colofd.conformance.cards_of_faults import shown_faults
from colofd.conformance.cards_of_proof import proved
from colofd.spec import reasons
from colofd.spec.profiles import DEVIATIONS
from colofd.spec.reasons import Reason
from colofd.spec.wire import ALL_TABLES, CHECKS
from colofd.spec.wire.fields import CONTEXT_NAMES, Check, Table


def table_card(table: Table) -> Card:
    """Return the card of a record: its fields in the order of the wire, and its checks."""
    sections = (
        formula("fields", *_fields(table)),
        words("source", table.source),
        references("continues", *([table.follows] if table.follows else [])),
        references("always refused, with", *([table.refused] if table.refused else [])),
        references("checks, in this order", *(f"{check.id}: {check.condition}" for _, check in table.checks())),
    )
    return Card(table.name, "record", table.doc, filled(*sections))


def _fields(table: Table) -> Iterator[str]:
    """Yield a line for each field, its name and kind in columns, and one for each part that is computed from it."""
    names = max((len(each.name) for each in table.fields), default=0)
    kinds = max((len(str(each.kind)) for each in table.fields), default=0)
    for each in table.fields:
        where = "" if each.when is None else f" (only if {each.when})"
        yield f"{each.name:{names}}  {each.kind!s:{kinds}}  {each.doc}{where}"
        yield from (f"  {name} = {value}" for name, value in each.parts)


def check_card(check: Check) -> Card:
    """Return the card of a check."""
    table, field = next((table, field) for table in ALL_TABLES for field, each in table.checks() if each is check)
    names = [f"{name}: {meaning}" for name, meaning in CONTEXT_NAMES.items() if name in check.condition.names()]
    sections = (
        formula("holds", str(check.condition)),
        words("where", *names),
        references("refused with", check.reason),
        references("on", f"{table.name}: the field {field.name}"),
        words("source", check.source),
        words("QEMU", check.qemu),
        references("versions that do not check it", *(f"{each.id}: {each.instead}" for each in DEVIATIONS if check.id in each.unchecked)),
        *shown_faults(check.id),
        *proved(check.id),
    )
    return Card(check.id, "check", f"The field {field.name} of {table.name} is held against this.", filled(*sections))


def reason_card(reason: Reason) -> Card:
    """Return the card of a reason to refuse an input."""
    sections = (
        references("given by", *(f"{check.id}: {check.condition}" for check in CHECKS.values() if check.reason is reason)),
        references("given for all of", *(table.name for table in ALL_TABLES if table.refused is reason)),
        *shown_faults(reason),
    )
    return Card(reason, "reason to refuse an input", meanings()[reason], filled(*sections))


@cache
def meanings() -> Mapping[Reason, str]:
    """Return what each reason means: the text that stands under it."""
    (members,) = (
        node.body for node in ast.parse(inspect.getsource(reasons)).body if isinstance(node, ast.ClassDef) and node.name == "Reason"
    )
    found = {}
    for member, text in itertools.pairwise(members):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            found[Reason(ast.literal_eval(member.value))] = str(ast.literal_eval(text.value))
    return found
