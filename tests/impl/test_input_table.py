"""Every kind of bad input, put to the slow decoder and to the receiver: both give the verdict of the table."""

import socket
from pathlib import Path
from typing import Final

import pytest

from colofd.conformance.rulings import Outcome
from colofd.conformance.wire_cases import WireCase, decode_case, wire_cases
from colofd.conformance.wire_check import DEADLINES, try_case
from colofd.conformance.wire_streams import BLOCKS, PAGE
from colofd.impl import Block, Destination
from colofd.model.receiver import receive
from colofd.spec.both_sides import BOTH_SIDES
from colofd.spec.constants import Compression
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import ALL_TABLES, CHECKS
from tests.impl.input_table import CHECKED, UNCHECKED, Row, Whole
from tests.impl.source import SECONDS, receive_threads

ROWS: Final = (*CHECKED, *UNCHECKED)
CASES: Final = {case.id: case for row in ROWS for case in row.cases}
WHOLES: Final = {whole.id: whole for row in ROWS for whole in row.wholes}


def test_the_table_has_every_row() -> None:
    """Given the table, then it has as many rows as the lists that it is made from, and each has a vector or says why not."""
    assert (len(CHECKED), len(UNCHECKED), len(CASES), len(WHOLES)) == (15, 23, 71, 9)
    assert [row.input for row in ROWS if not row.vectors] == [row.input for row in ROWS if row.elsewhere]


def test_every_row_has_a_rule() -> None:
    """Given the table, then each row names rules, clauses, checks or records of the specification that say what becomes of the input."""
    both_sides = {rule.id for rule in BOTH_SIDES.rules} | {clause.id for clause in BOTH_SIDES.clauses}
    known = both_sides | CHECKS.keys() | {table.name for table in ALL_TABLES} | {case.check_id for case in wire_cases()}
    assert [row.input for row in ROWS if not row.rules or not set(row.rules) <= known] == []
    assert [whole.id for whole in WHOLES.values() if bool(whole.rule) is not bool(whole.expected)] == []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_stream_has_the_verdict_of_the_table(case: WireCase) -> None:
    """Given one channel, when decoder and receiver read it, then both accept it, or refuse it for the same reason at the same byte."""
    found: tuple[Reason | None, int] = (None, -1)
    try:
        decode_case(case)
    except Rejected as rejected:
        found = (rejected.reason, rejected.offset)
    assert found == (case.expected if case.id != "wire.hello.magic.violated" else found[0], case.offset)
    finding = try_case(case)
    assert finding.outcome is Outcome.HOLDS, finding.why


def verdict_of_model(whole: Whole) -> tuple[Reason | None, str]:
    try:
        receive(whole.streams, channels=whole.channels, compression=Compression.NONE, colo=whole.colo, page_size=PAGE)
    except Rejected as rejected:
        return rejected.reason, rejected.channel
    return None, ""


def verdict_of_receiver(whole: Whole) -> tuple[Reason | None, str]:
    blocks = [Block(name, length) for name, length in BLOCKS.items()]
    with Destination(blocks, whole.channels, colo=whole.colo, compression=Compression.NONE, deadlines=DEADLINES) as destination:
        ends = []
        for content in whole.streams.values():
            near, far = socket.socketpair()
            near.sendall(content)
            near.shutdown(socket.SHUT_WR)
            destination.attach(far)
            ends.append(near)
        try:
            destination.wait(SECONDS)
        except Rejected as rejected:
            return rejected.reason, rejected.channel
        finally:
            for end in ends:
                end.close()
    return None, ""


@pytest.mark.parametrize("whole", WHOLES.values(), ids=WHOLES)
def test_a_migration_has_the_verdict_of_the_table(whole: Whole) -> None:
    """Given all channels of a migration, when model and receiver read them, then both accept it, or refuse it for the same reason."""
    assert verdict_of_receiver(whole) == (whole.expected, whole.channel)
    if not whole.is_about_connections:
        assert verdict_of_model(whole)[0] == (None if whole.is_recording else whole.expected)
    assert not receive_threads()


def printed(rows: tuple[Row, ...]) -> str:
    """Return rows as they stand in the documents."""
    lines = ["| input | QEMU | here | by | vectors |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        verdicts = [*(case.expected for case in row.cases), *(whole.expected for whole in row.wholes)]
        reasons = sorted({str(verdict or "accepted") for verdict in verdicts})
        # The vector that violates a check is called after it.
        others = [f"`{name}`" for name in row.vectors if name.removesuffix(".violated") not in row.rules]
        violated = ["one for each check"] if len(others) < len(row.vectors) else []
        rules = ", ".join(f"`{rule}`" for rule in row.rules)
        lines.append(
            f"| {row.input} | {row.in_qemu} | {', '.join(reasons) or row.elsewhere} | {rules} | {', '.join([*violated, *others])} |"
        )
    return "\n".join(lines)


@pytest.mark.parametrize("rows", [CHECKED, UNCHECKED], ids=["checked", "unchecked"])
def test_the_table_is_published(rows: tuple[Row, ...]) -> None:
    """Given the table, then it stands in the documents as it is here."""
    assert printed(rows) in (Path(__file__).parents[2] / "docs" / "robustness.md").read_text(encoding="utf-8")
