"""A check on a cluster finds what it finds alone, and a worker that dies loses nothing."""

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.check import Campaign, Found, Profile, pieces
from colofd.conformance.check_black_box import check_black_box
from colofd.conformance.check_vectors import check_vectors
from colofd.conformance.counterexample import vector_of
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.elsewhere import elsewhere, from_outside_on
from colofd.conformance.saved_schedule import Move, SavedSchedule, Seen
from colofd.conformance.spread import Spread, alone
from colofd.conformance.subjects import BuiltIn, Factory, Options
from colofd.conformance.vector_format import write_vectors
from colofd.conformance.violation import Violation
from colofd.spec.constants import Step
from colofd.spec.protocol import spec_sha256
from tests.conformance.fakes import wrong_digests

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs the extra colofd[cluster]"),
    # Dask closes the sockets of a worker that was killed when it collects them.
    pytest.mark.filterwarnings("default"),
]

PROFILE: Final = Profile(drawn=14, variants=1)
DRAWN_AT_ONCE: Final = 5
"""So there are three pieces of drawn schedules."""


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """Let workers import the functions of this file: they begin with the path of this process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("colofd.conformance.cluster.spread._PIECE_SECONDS", 60.0)
        patched.syspath_prepend(str(Path(__file__).parents[2]))
        yield


@pytest.fixture(scope="module")
def spread(importable: None) -> Iterator[Spread]:
    """Return a spread over two processes."""
    del importable
    with elsewhere(2, "") as over:
        assert over is not None
        yield over


def found_by(factory: Factory, over: Spread) -> Found:
    """Return what a campaign finds, in the words in which a report has it."""
    campaign = Campaign(factory, 3, lambda _what: None, spread=over)
    # A wrong receiver is found by directed schedules already, and to shorten what is drawn takes long.
    campaign.run(PROFILE if factory is BuiltIn else Profile(drawn=0, variants=1))
    assert campaign.rulings()
    return campaign.found


@pytest.mark.parametrize("factory", [BuiltIn, wrong_digests(Step.MAIN_MIRROR)], ids=["right", "wrong"])
def test_a_campaign_finds_on_a_cluster_what_it_finds_alone(spread: Spread, factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same seed, when a campaign is run on two workers and alone, then tallies, counts and violations are the same."""
    monkeypatch.setattr("colofd.conformance.check.DRAWN_AT_ONCE", DRAWN_AT_ONCE)
    monkeypatch.setattr("colofd.conformance.check.pieces", lambda profile, seed: [*pieces(profile, seed)[::6], *pieces(profile, seed)[-3:]])
    there, here = found_by(factory, spread), found_by(factory, alone)
    # How often a rule is taken depends a little on when threads run, alone too.
    assert (there.tally.schedules, there.fired.keys(), there.errors) == (here.tally.schedules, here.fired.keys(), here.errors)
    assert {rule: str(violation) for rule, violation in there.violations.items()} == {
        rule: str(violation) for rule, violation in here.violations.items()
    }
    recorded = [violation.recorded for violation in there.violations.values()]
    assert recorded == [violation.recorded for violation in here.violations.values()]
    assert bool(recorded) == (factory is not BuiltIn)


def test_a_violation_comes_home_whole(spread: Spread) -> None:
    """Given a violation that was found elsewhere, then it has its rule, its words, its moves and its schedule as data."""
    recorded = SavedSchedule(Seen.OUTSIDE, Options(), [Move("end_precopy")], "rule", "why")
    violation = Violation("rule", "why", ["one", "two"])
    violation.recorded = recorded
    (back,) = spread(_same, [violation])
    assert (str(back), back.rule, back.why, back.moves, back.recorded) == (str(violation), "rule", "why", ("one", "two"), recorded)


def _same(violation: Violation) -> Violation:
    return violation


def _dies_once(place: tuple[Path, int]) -> tuple[int, int]:
    """Kill the worker that has the third piece, the first time; return the number of the piece, and the process that has run it."""
    folder, number = place
    mark = folder / "died"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)  # so that every worker has some
    return number, os.getpid()


def test_a_dead_worker_loses_no_result(tmp_path: Path) -> None:
    """Given two workers, when one is killed in the middle of a piece, then what comes of each piece is there, once, and in order."""
    with elsewhere(2, "") as over:
        assert over is not None
        done = list(over(_dies_once, [(tmp_path, number) for number in range(12)]))
    assert [number for number, _ in done] == list(range(12))
    assert (tmp_path / "died").exists()


def test_no_scheduler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an address where no scheduler listens, then this is a diagnostic, and not a defect."""
    monkeypatch.setattr("colofd.conformance.cluster.spread._CONNECT_SECONDS", 1.0)
    with pytest.raises(Diagnostic, match="scheduler-missing"), elsewhere(None, "tcp://127.0.0.1:9"):
        pass


def test_silent_workers_are_told(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a piece that takes longer than it may, then this is a diagnostic, and nobody waits for ever."""
    monkeypatch.setattr("colofd.conformance.cluster.spread._PIECE_SECONDS", 0.1)
    with pytest.raises(Diagnostic, match="cluster-silent"):
        list(spread(time.sleep, [1.0]))


def test_alone_is_nowhere_else() -> None:
    """Given neither workers nor a scheduler, then there is no spread."""
    with elsewhere(None, "") as over:
        assert over is None
    assert from_outside_on(None, "impl") is None


def test_a_receiver_seen_from_outside_on_a_cluster(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the built-in receiver from outside, when it is checked on two workers and alone, then the rulings are the same."""
    monkeypatch.setattr("colofd.conformance.check_black_box.RACES", 1)

    def rulings(over: Spread | None) -> object:
        rules, schedules = check_black_box(BuiltInFromOutside, "strict", 5, 1, lambda _what: None, None, from_outside_on(over, "impl"))
        return {name: (ruling.outcome, ruling.evidence, ruling.by_kind) for name, ruling in rules.items()}, schedules

    assert rulings(spread) == rulings(None)


def test_vectors_on_a_cluster(spread: Spread, tmp_path: Path) -> None:
    """Given vectors, when they are played on two workers and alone, then the reports are the same."""
    schedules = [SavedSchedule(Seen.OUTSIDE, Options(pages=pages), [Move("end_precopy")], f"rule{pages}", "") for pages in (4, 5, 6)]
    vectors = [vector for schedule in schedules if (vector := vector_of(schedule)) is not None]
    write_vectors(tmp_path, vectors, {vector.id: ["x"] for vector in vectors}, spec_sha256())
    there = check_vectors("impl", tmp_path, "strict", "", lambda _what: None, spread)
    assert len(there.vectors) == 3
    assert there == check_vectors("impl", tmp_path, "strict", "", lambda _what: None)
