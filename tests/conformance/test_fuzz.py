"""Damaged streams: decoder and receiver agree about each, every kind of refusal is reached, and a difference is noticed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colofd.conformance.fuzz import KINDS, Edit, Tally, damaged, run_damaged, targets, try_damaged
from colofd.impl.records import RamSection
from colofd.spec.reasons import Reason

EDITS = st.lists(st.builds(Edit, st.integers(0, KINDS - 1), st.integers(0, 1 << 16), st.integers(0, 1 << 16)), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(target=st.integers(0, len(targets()) - 1), edits=EDITS)
def test_decoder_and_receiver_agree(target: int, edits: list[Edit]) -> None:
    """Given a valid stream, when it is damaged along the wire tables, then the receiver gives the verdict of the decoder."""
    valid, seen = targets()[target]
    assert not try_damaged(valid, damaged(valid, seen, edits), Tally())


def test_drawn_damage_reaches_what_there_is() -> None:
    """Given a slice of the long run, then all agree, and many reasons at many fields were reached."""
    tally, wrong = Tally(), list[str]()
    run_damaged(800, 1, tally, lambda why, _data: wrong.append(why))
    assert wrong == []
    assert len(tally.reasons) >= 42
    assert len(tally.reached) >= 80
    assert tally.inconclusive < 150


def test_another_verdict_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a receiver that takes records of any kind, then that is noticed."""

    def take_any(section: RamSection, flags: int, at: int) -> None:
        del section, flags, at

    monkeypatch.setattr(RamSection, "_check_kind", take_any)
    tally, wrong = Tally(), list[str]()
    run_damaged(300, 1, tally, lambda why, _data: wrong.append(why))
    assert any(str(Reason.RECORD_FLAGS) in why for why in wrong)
