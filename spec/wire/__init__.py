"""The wire format as tables: every record, packet and message that colofd reads, with every check on it.

All integers are unsigned and big-endian. One text per rule: the slow decoder (`colofd.model.decode`) interprets these tables, the
conformance suite breaks every check of them, the documentation prints them.

Modules: `fields` and `expressions` are the language; `main_channel`, `ram`, `multifd`, `colo` and `return_path` are the tables.
Which record may follow which is told by the phases of the receiver; the tables only say `follows` where one record decides how the
rest of its bytes is read.

Example:
    >>> from colofd.spec.wire import CHECKS
    >>> print(CHECKS["wire.packet.pages-alloc"].condition)
    pages_alloc <= page_count
"""

from typing import Final

from colofd.spec.wire import colo, main_channel, multifd, ram, return_path
from colofd.spec.wire.fields import Check, Table, canonical_table

ALL_TABLES: Final[tuple[Table, ...]] = main_channel.TABLES + ram.TABLES + multifd.TABLES + colo.TABLES + return_path.TABLES
"""Every table."""

CHECKS: Final[dict[str, Check]] = {check.id: check for table in ALL_TABLES for _, check in table.checks()}
"""Every check by its id."""


def canonical() -> list[dict[str, object]]:
    """Return all tables and checks without prose, as JSON-able data: what goes into the hash of the spec."""
    return [canonical_table(table) for table in ALL_TABLES]
