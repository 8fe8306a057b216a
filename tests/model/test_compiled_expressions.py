"""The two readings of the wire tables: what is compiled gives what is evaluated, and another function would be noticed."""

from collections.abc import Mapping

import pytest

from colofd.conformance.wire_cases import decode_case, wire_cases
from colofd.model import decode_tables
from colofd.model.compiled_expressions import condition_of, value_of
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import fields
from colofd.spec.wire.expressions import Expression, Name, Value


def test_both_readings_agree_on_whatever_a_decoder_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given all wire cases, when they are decoded, then each expression has the same value, read either way."""
    asked = 0

    def both(expression: Expression, values: Mapping[str, Value]) -> Value:
        nonlocal asked
        asked += 1
        value = value_of(expression)(values)
        assert value == expression.evaluate(values), str(expression)
        return value

    def holds(check: fields.Check, values: Mapping[str, Value]) -> bool:
        missing = check.condition.names() - values.keys()
        is_skipped = bool(missing) and missing <= fields.OPTIONAL_NAMES
        assert is_skipped is not (condition_of(check)[0] <= values.keys())
        return is_skipped or bool(both(check.condition, values))

    monkeypatch.setattr(decode_tables, "value_of", lambda expression: lambda values: both(expression, values))
    monkeypatch.setattr(decode_tables, "holds", holds)
    for case in wire_cases():
        found: Reason | None = None
        try:
            decode_case(case)
        except Rejected as rejected:
            found = rejected.reason
        assert found == case.expected
    assert asked > 9_000


def test_an_unknown_name_is_noticed() -> None:
    """Control: given an expression over a name that nobody knows, when it is asked for, then it raises KeyError as evaluated."""
    with pytest.raises(KeyError):
        value_of(Name("missing") + 1)({})
