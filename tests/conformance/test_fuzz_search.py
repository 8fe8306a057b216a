"""Damaged migrations that one thread reads: all channels together, states that are reached, and mistakes that are noticed."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest

from colofd.conformance import fuzz_jobs
from colofd.conformance.fuzz import Edit
from colofd.conformance.fuzz_in_process import InProcess
from colofd.conformance.fuzz_jobs import Found, search
from colofd.conformance.fuzz_oracle import expected, wrong
from colofd.conformance.fuzz_search import KINDS, Search, damaged, try_one
from colofd.conformance.fuzz_targets import Target, targets
from colofd.impl.connections import Connections
from colofd.impl.packet import PacketReader
from colofd.impl.payload import ZstdFrame
from colofd.impl.records import RamSection
from colofd.impl.trace import PageNumbers
from colofd.spec.constants import Compression
from colofd.spec.reasons import Reason

SLICE: Final = 1500
"""A part of the millions that `colofd stress --only parsers` runs."""
STATES: Final = 135
REASONS: Final = 50


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.id)
@pytest.mark.parametrize("is_watched", [False, True])
def test_a_whole_migration_is_accepted(target: Target, is_watched: bool) -> None:
    """Given a migration without damage, when it is read, then it is accepted, up to the end that COLO does not have."""
    wanted = expected(target, dict(target.streams))
    seen = InProcess(target).receive(target.streams, is_watched=is_watched)
    assert wrong(target, wanted, seen) == ""
    assert (seen.refused is None) is not target.context.colo
    assert len(wanted.pages) >= 4


def test_the_search_reaches_what_it_reached() -> None:
    """Given a slice of the long run, then all agree, and it comes to the states and reasons that it is known to come to."""
    found: list[str] = []
    search = Search(1, found.append)
    search.run(SLICE)
    assert found == []
    assert (len(search.reached.states), search.reached.reasons) == (STATES, REASONS)
    assert len(search.kept) == STATES


def test_the_same_seed_draws_the_same() -> None:
    """Given two searches with one seed, then they come to the same; with another seed, to something else."""
    searches = [Search(seed, pytest.fail) for seed in (3, 3, 4)]
    for each in searches:
        each.run(60)
    first, again, other = (each.reached.states for each in searches)
    assert first == again != other


def test_a_search_in_processes_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given stretches of a search, when they are tried in one process or in two, then they come to the same, with a report after each."""
    monkeypatch.setattr(fuzz_jobs, "STRETCH", 40)
    reports: list[int] = []
    alone, together = (search(100, 3, jobs, lambda found: reports.append(found.reached.inputs)) for jobs in (1, 2))
    assert alone.reached.states == together.reached.states != Counter()
    assert (alone.reached.inputs, together.reached.inputs) == (100, 100)
    assert reports[:3] == [40, 80, 100]
    assert len(reports) == 6


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_search_says_what_it_has_reached(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a search of days, when it is interrupted after its first stretch, then it ends with what that has come to."""
    monkeypatch.setattr(fuzz_jobs, "STRETCH", 30)

    def interrupt(_found: Found) -> None:
        raise KeyboardInterrupt

    assert search(3000, 3, jobs, interrupt).reached.inputs == 30


def test_every_kind_of_edit_does_something() -> None:
    """Given each kind of edit at some places, then it changes some migration."""
    for kind in range(KINDS):
        edits = [Edit(kind, at, 5) for at in range(0, 300, 3)]
        assert any(damaged(target, [edit]) != target.streams for target in targets() for edit in edits), kind


def _take_any(section: RamSection, flags: int, at: int) -> None:
    del section, flags, at


def _mirror_nothing(section: RamSection, mirrored: np.bool_, normal: PageNumbers, zero: PageNumbers) -> None:
    del section, mirrored, normal, zero


def _take_any_head(reader: PacketReader, head: memoryview, at: int) -> None:
    del reader, head, at


def _go_on(frame: ZstdFrame, payload: memoryview) -> bool:
    del frame, payload
    return False


def _take_any_greeting(connections: Connections, hello: memoryview) -> str:
    del connections
    return f"mfd{hello[24]}"


@pytest.mark.parametrize(
    ("owner", "name", "mistake", "said"),
    [
        (RamSection, "_check_kind", _take_any, Reason.RECORD_FLAGS),
        (RamSection, "_mirror", _mirror_nothing, "the cache differs"),
        (PacketReader, "check_head", _take_any_head, Reason.PACKET_MAGIC),
        (Connections, "_greet", _take_any_greeting, Reason.HELLO_UUID),
    ],
    ids=["record", "mirror", "packet", "hello"],
)
def test_a_mistake_is_noticed(owner: type, name: str, mistake: Callable[..., object], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a receiver with a mistake in one of its parsers, then some damage shows it."""
    monkeypatch.setattr(owner, name, mistake)
    found: list[str] = []
    Search(1, found.append).run(400)
    assert any(str(said) in why for why in found)


def _other_payloads(compression: Compression) -> list[str]:
    """Return what is wrong about packets whose payload is compressed in other ways."""
    number, target = next((number, each) for number, each in enumerate(targets()) if each.context.compression is compression)
    return [try_one(number, [Edit(9, at, kind)], is_watched=False)[1] for at in range(len(target.packets)) for kind in range(12)]


@pytest.mark.parametrize("compression", [Compression.ZLIB, Compression.ZSTD])
def test_payloads_in_other_shapes_are_judged_alike(compression: Compression, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given payloads that end, go on, bring too much or ask for much memory, then all agree; not with frames that may end (control)."""
    found = _other_payloads(compression)
    assert len(found) >= 24
    assert not any(found)
    monkeypatch.setattr(ZstdFrame, "ends_in", _go_on)
    assert any(str(Reason.PAYLOAD_CORRUPT) in why for why in _other_payloads(compression)) is (compression is Compression.ZSTD)


def test_another_exception_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a reader that raises ValueError, when a migration is read, then that is what is wrong."""

    def fail(_reader: PacketReader, _head: memoryview, _at: int) -> None:
        raise ValueError("head")

    monkeypatch.setattr(PacketReader, "check_head", fail)
    number = next(number for number, target in enumerate(targets()) if target.context.channels)
    assert "the receiver raised ValueError" in try_one(number, [], is_watched=True)[1]
