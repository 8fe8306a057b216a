"""The drawings show what happens in the model, and change with a rule."""

import dataclasses
import re
from xml.etree import ElementTree as ET

import pytest

from colofd.conformance import diagrams_channels, diagrams_memory, diagrams_sequence
from colofd.conformance.diagrams_channels import MULTIFD_NUMBER, moves
from colofd.conformance.diagrams_memory import Exists, uses
from colofd.conformance.diagrams_sequence import SCENES, NoWay, Scene, scene_run
from colofd.model.finite_slices import MAIN_NUMBER
from colofd.model.finite_terms import evaluate
from colofd.spec.language import Spec
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.state import At, Phase, World


def without(spec: Spec, rule: str) -> Spec:
    """Return a specification without a rule."""
    return dataclasses.replace(spec, rules=tuple(each for each in spec.rules if each.id != rule))


def test_the_steps_of_a_channel_are_those_of_the_rules() -> None:
    """Given every state of a small instance, Then each rule of a channel is drawn where it is taken, with where it leads."""
    found = {move.rule: (move.before, move.after) for move in moves(MULTIFD_NUMBER)}
    assert found["receive.prepare"] == ((At.READY,), At.BODY)
    assert found["receive.read-part"] == ((At.BODY,), None)
    assert found["barrier.release"] == ((At.PARKED,), At.READY)
    assert found["thread.exit"] == ((At.READY, At.BODY, At.PROCESSING, At.PARKED), At.EXITED)
    assert [rule.id for rule in SPEC.rules if rule.id.startswith("receive.") and rule.id not in found] == []
    main = {move.rule for move in moves(MAIN_NUMBER)}
    assert {rule.id for rule in SPEC.rules if rule.id.startswith("main.")} <= main
    assert not any(rule.startswith("receive.") for rule in main)


def test_a_thread_without_a_rule_goes_nowhere() -> None:
    """Given a specification without a rule, Then its arrow is gone, and all that could only come after it (the control)."""
    found = {move.rule for move in moves(MULTIFD_NUMBER, without(SPEC, "receive.payload-complete"))}
    assert "receive.prepare" in found
    assert not found & {"receive.payload-complete", "receive.mirror", "receive.packet-done"}


def test_memory_is_changed_by_whom_the_claims_name() -> None:
    """Given COLO, Then from the first commit on only the flush and the guest itself change guest RAM; and memory exists as is claimed."""
    found = uses("main-channel")
    after = [phase for phase in found if phase not in (Phase.SETUP, Phase.PRECOPY, Phase.FAILED)]
    writers = {rule for phase in after for rule in found[phase][World.guest].writers}
    assert writers == {"guest.secondary-write", "checkpoint.flush-page"}
    assert found[Phase.FLUSHING][World.guest].writers == ("checkpoint.flush-page",)
    assert [found[phase][World.cache].exists for phase in (Phase.SETUP, Phase.PRECOPY, Phase.FAILOVER)] == [
        Exists.NEVER,
        Exists.ALWAYS,
        Exists.AT_TIMES,
    ]
    assert {use[World.cache].exists for use in uses("plain").values()} == {Exists.NEVER}
    assert Phase.FILLING in uses("deferred")


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_chart_is_a_run(scene: Scene) -> None:
    """Given a scene, Then its run takes its steps in order, each is possible where it is taken, and each is in the chart."""
    instance, run, left_out = scene_run(scene)
    assert all(evaluate(step.guard, state) for step, state in zip(run.steps, run.states, strict=False))
    taken = iter(run.steps[left_out:])
    assert all(any(wanted in (step.name, step.rule.id) for step in taken) for wanted in scene.through)
    drawn = diagrams_sequence.drawing(scene, instance, run, left_out)
    texts = re.findall(r">([^<>]+)</text>", drawn)
    for step in run.steps[left_out:]:
        assert any(text.startswith(step.rule.id.partition(".")[2]) for text in texts), step.name
    end = instance.described(run.states[-1])
    assert (end["phase"] == "IDLE") is (scene.name == "checkpoint")
    ET.fromstring(drawn)  # noqa: S314  # our own text: it is well-formed


def test_a_checkpoint_that_is_half_here_is_dropped_and_an_answered_one_is_not() -> None:
    """Given the charts, Then guest RAM at the end is what each is about."""
    last = {scene.name: (instance, run) for scene in SCENES for instance, run, _ in [scene_run(scene)]}
    held = {name: instance.described(run.states[-1])["guest_0"] for name, (instance, run) in last.items()}
    old, new = "1", "2"
    assert held["failover-half"] == held["failover-received"] == held["failover-primary"] == old
    assert held["checkpoint"] == held["failover-answered"] == new


def test_a_chart_that_is_not_possible_any_more_says_so() -> None:
    """Given a specification without an answer, Then there is no chart of a checkpoint, and the step is named (the control)."""
    with pytest.raises(NoWay, match=r"no run comes to checkpoint.commit after send.normal-page"):
        scene_run(SCENES[0], without(BOTH_SIDES, "checkpoint.answer"))


def test_drawings_are_well_formed_and_have_no_colour_of_their_own() -> None:
    """Given the drawings, Then they can be parsed, have a title, and take the colour of the text around them."""
    drawn = [diagrams_channels.drawing(channel, moves(channel)) for channel in (MAIN_NUMBER, MULTIFD_NUMBER)]
    drawn += [diagrams_memory.drawing(part, uses(part)) for part in ("main-channel", "plain")]
    for svg in drawn:
        root = ET.fromstring(svg)  # noqa: S314  # likewise
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', svg)) <= {"none", "currentColor"}
