"""Every interleaving of the scenes: how many there are, that all go through, and that a wrong receiver is found with one preemption."""

from collections import Counter
from typing import Any, Final

import pytest

from colofd.conformance.preemptions import Decision, preemptions, run_all, run_race
from colofd.conformance.scenes import SCENES, Scene
from colofd.conformance.subjects import BuiltIn
from colofd.conformance.violation import Violation
from colofd.impl.reception import Reception
from colofd.spec.constants import Step

SCENE: Final = {scene.name: scene for scene in SCENES}

NUMBERS: Final = {
    ("a packet of a checkpoint, and failover", 2): 138,
    ("two packets of a checkpoint, and failover", 0): 30,
    ("a packet and a record of a checkpoint, and failover", 0): 30,
    ("the end of a round, and failover", 0): 42,
    ("answer and flush, and failover", 1): 30,
    ("answer and flush, and close", 1): 30,
    ("a packet beside a channel that dies in a checkpoint", 1): 23,
    ("two packets of precopy, and close", 0): 30,
    ("two rounds of precopy", 1): 12,
    ("two rounds of precopy, mirror deferred", 1): 12,
}
"""How many interleavings a scene has with at most so many preemptions: a part of what `colofd stress` runs."""


@pytest.mark.parametrize(("name", "bound"), NUMBERS, ids=str)
def test_every_interleaving_goes_through(name: str, bound: int) -> None:
    """Given a scene, when each interleaving with so few preemptions is run, then the model allows every step, and none was left out."""
    seen: Counter[tuple[str, ...]] = Counter()
    number = run_all(BuiltIn, SCENE[name], bound, lambda race: seen.update([tuple(race.moves)]))
    assert number == NUMBERS[name, bound]
    assert set(seen.values()) == {1}


def test_no_scene_is_left_out() -> None:
    """Given the scenes, then each one is run here, and has its own name."""
    assert [name for name, _ in NUMBERS] == [scene.name for scene in SCENES]
    assert sum(scene.interleavings for scene in SCENES) == 4500


def test_preemptions_are_counted() -> None:
    """Given who went on and who could have, then only a switch away from somebody who could go on is a preemption."""
    both = ("mfd0", "mfd1")
    assert preemptions([Decision(both, "mfd0"), Decision(both, "mfd1")]) == 1
    assert preemptions([Decision(("mfd0",), "mfd0"), Decision(("mfd1",), "mfd1")]) == 0
    assert preemptions([]) == 0


class DecidedAgain:
    """A latch that asks for the phase again whenever it is looked at, as QEMU's does after the payload."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    def __bool__(self) -> bool:
        return self._reception.phase not in {"idle", "receiving", "received", "flushing"}


@pytest.fixture
def _latch_decided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = Reception.prepare

    def prepare_wrongly(self: Reception, *arguments: Any) -> DecidedAgain:
        prepare(self, *arguments)
        return DecidedAgain(self)

    monkeypatch.setattr(Reception, "prepare", prepare_wrongly)


@pytest.mark.usefixtures("_latch_decided_again")
def test_the_latch_needs_one_preemption() -> None:
    """Control: given a receiver that decides again whether to mirror, then no run without preemption shows it, and one with one does."""
    scene = SCENES[0]
    assert run_all(BuiltIn, scene, 0, lambda _race: None) == 12
    with pytest.raises(Violation) as caught:
        run_all(BuiltIn, scene, 1, lambda _race: None)
    assert caught.value.rule == "receive.mirror"


def test_a_thread_that_does_not_go_on_is_a_violation() -> None:
    """Control: given a scene that expects a step nobody comes to, then that is a violation of progress."""
    scene = Scene("too much", lambda run: {**SCENES[8].set(run), "mfd1": (Step.PREPARE, Step.PACKET_DONE)}, None, 0)
    with pytest.raises(Violation) as caught:
        run_race(BuiltIn, scene, ())
    assert caught.value.rule in {"progress", "barrier.park"}


def test_choices_that_cannot_be_followed_are_an_error() -> None:
    """Given a choice of a thread that does not wait at a micro-step, then it is said who does."""
    with pytest.raises(ValueError, match="'main' cannot go on after"):
        run_race(BuiltIn, SCENES[0], ("main",))
