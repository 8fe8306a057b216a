"""The wire tables as data: ids, texts, the canonical form."""

import json
import re

import pytest

from colofd.spec.constants import DEVICE_STATE_PACKET_SIZE, HELLO_SIZE, RecordFlag, packet_size
from colofd.spec.reasons import Reason
from colofd.spec.wire import ALL_TABLES, CHECKS, canonical, fields, multifd
from colofd.spec.wire.expressions import Constant, Expression, show
from colofd.spec.wire.fields import name

TABLES = 30
NUMBER_OF_CHECKS = 73


def test_the_number_of_tables_and_checks_is_pinned() -> None:
    """Given the tables, when they are counted, then none was lost or added without notice."""
    assert len(ALL_TABLES) == TABLES
    assert len(CHECKS) == NUMBER_OF_CHECKS


def test_ids_are_unique() -> None:
    """Given all checks of all tables, when their ids are compared, then only a field shared by two tables repeats them."""
    every = [check for table in ALL_TABLES for _, check in table.checks()]
    assert {check.id for check in every} == CHECKS.keys()
    assert all(CHECKS[check.id] is check for check in every)
    assert len({table.name for table in ALL_TABLES}) == len(ALL_TABLES)


def test_ids_have_the_form_of_rule_ids() -> None:
    """Given the ids, when they are read, then each is `wire.THING.WHAT` in lower case."""
    assert [check for check in CHECKS if not re.fullmatch(r"wire\.[a-z-]+\.[a-z-]+", check)] == []


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_every_name_in_a_table_is_a_field_or_context(table: fields.Table) -> None:
    """Given a table, when the names in its expressions are looked up, then each is an earlier field, a part or context."""
    followed = next((other for other in ALL_TABLES if other.name == table.follows), None)
    known = set(fields.CONTEXT_NAMES) | {"state_size"}
    for field in (*(followed.fields if followed else ()), *table.fields):
        assert _names(field.kind) <= known
        known |= {field.name, *(part for part, _ in field.parts)}
        for check in field.checks:
            assert check.condition.names() <= known, check.id
            assert not check.at or check.at in known, check.id


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_every_check_says_what_qemu_does(check: fields.Check) -> None:
    """Given a check, when its QEMU side is read, then it has a source and, if QEMU lacks it, the effect."""
    assert re.match(r"migration/[a-z-]+\.[ch]:", check.source), check.source
    assert check.qemu == "checked" or len(check.qemu.split(maxsplit=2)) > 2, check.qemu


def test_reasons_refused_tables_are_described() -> None:
    """Given the records that are not received, when their tables are listed, then each names the reason and checks nothing."""
    refused = {table.name: table.refused for table in ALL_TABLES if table.refused}
    assert refused == {
        "ram.xbzrle": Reason.RECORD_UNSUPPORTED,
        "ram.hook": Reason.RECORD_UNSUPPORTED,
        "ram.compress-page": Reason.RECORD_UNSUPPORTED,
        "multifd.device-state-packet": Reason.PACKET_DEVICE_STATE,
    }
    assert not [check for table in ALL_TABLES if table.refused for _, check in table.checks()]


def test_fixed_sizes_are_those_of_qemu() -> None:
    """Given page size 4096, when the widths of the fields are added up, then they are QEMU's structures."""
    assert _fixed_size(multifd.HELLO) == HELLO_SIZE
    assert _fixed_size(multifd.PACKET) == packet_size(4096) == 1344
    assert _fixed_size(multifd.DEVICE_STATE_PACKET) == DEVICE_STATE_PACKET_SIZE


def test_canonical_form_is_json_without_prose() -> None:
    """Given the canonical form, when one condition changes, then it changes; when only prose changes, then it does not."""
    text = json.dumps(canonical())
    assert "wire.packet.pages-alloc" in text
    assert "pages_alloc <= page_count" in text
    assert multifd.PACKET.doc not in text
    assert all(field.doc not in text for field in multifd.PACKET.fields if len(field.doc) > 20)


def test_expressions_print_and_evaluate() -> None:
    """Given an expression, when it is printed and evaluated, then both say the same."""
    flags = name("flags") & RecordFlag.CONTINUE
    assert str(flags.equals(0) | (Constant(0) < name("previous").length())) == "((flags & CONTINUE) == 0) | (0 < length(previous))"
    assert flags.equals(0).evaluate({"flags": 0x28}) == 0
    assert (name("a") + name("b") * 2 - 1).evaluate({"a": 3, "b": 4}) == 10
    assert name("lengths").at("ram0").evaluate({"lengths": {"ram0": 4096}}) == 4096
    assert name("lengths").at("ram1").evaluate({"lengths": {"ram0": 4096}}) == 0
    assert name("array").slice(1, 3).evaluate({"array": (1, 2, 3, 4)}) == (2, 3)
    assert name("word").not_among(("a", "b")).evaluate({"word": "c"}) == 1


def test_expressions_refuse_what_has_no_meaning() -> None:
    """Given operands of the wrong type, when an expression is evaluated, then it raises TypeError; an unknown name KeyError."""
    wrong: list[Expression] = [name("text") + 1, name("number").length(), name("number").among(name("number")), name("text").slice(0, 1)]
    for expression in wrong:
        with pytest.raises(TypeError):
            expression.evaluate({"text": "a", "number": 1})
    with pytest.raises(KeyError):
        name("missing").evaluate({})


def test_values_are_shown_for_people() -> None:
    """Given values, when they are shown, then large numbers are hexadecimal and long arrays are cut."""
    assert [show(value) for value in (9, 0x11223344, "a", b"\x01", RecordFlag.EOS)] == ["9", "0x11223344", "'a'", "01", "EOS"]
    assert show(tuple(range(20))).endswith("15, ...)")


def _names(kind: fields.Kind) -> frozenset[str]:
    match kind:
        case fields.Raw(length=length):
            return length.names()
        case fields.Array(count=count, used=used):
            return count.names() | used.names()
        case _:
            return frozenset()


def _fixed_size(table: fields.Table) -> int:
    size = 0
    for field in table.fields:
        match field.kind:
            case fields.Integer(size=width) | fields.PaddedText(size=width):
                size += width
            case fields.Raw(length=Constant(value=int(width))):
                size += width
            case fields.Array(element=element):
                size += element.size * 128
            case _:
                assert field.payload, field.name
    return size
