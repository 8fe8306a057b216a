"""Pictures of runs: every step is in the lane of who takes it, and every change of a page can be seen."""

import json

import pytest
from click.testing import CliRunner

from colofd.conformance.explore_command import explore
from colofd.conformance.run_picture import picture
from colofd.model.controls import WRONG, control
from colofd.model.controls_declared import Control
from colofd.model.controls_runs import instance_of, run_of

LATCH = """\
     primary            mfd0              secondary            primary 0  cache 0  guest 0
     |                  |                 SETUP                    1         0        0
  1  |                  |                 start: PRECOPY           1         0        0
  2  normal-page 0      ->                                         1         0        0
  3  |                  prepare                                    1         0        0
  4  |                  read-page 0=1                              1        [1]       0
  5  |                  payload-complete                           1         1        0
  6  |                  mirror 0                                   1         1       [1]
  7  |                  packet-done                                1         1        1
  8  |                  park                                       1         1        1
  9  |                  |                 release                  1         1        1
 10  |                  |                 enter-colo: IDLE         1         1        1
 11  |                  |                 begin: RECEIVING         1         1        1
 12  primary-write 0=0  |                                         [0]        1        1
 13  zero-page 0        ->                                         0         1        1
 14  |                  prepare                                    0         1        1
 15  |                  |                 take-over: FAILOVER      0         1        1
 16  |                  zero-page 0                                0        [0]       1
 17  |                  payload-complete                           0         0        1
 18  |                  mirror 0                                   0         0       [0]
"""


def drawn(wrong: Control) -> list[str]:
    run = run_of(wrong)
    assert run is not None
    assert wrong.shows is not None
    return picture(instance_of(wrong, wrong.shows), run)


def test_the_picture_of_the_latch() -> None:
    """Given the run of the latch, then the picture is this one: after the take-over a page of the guest changes."""
    assert drawn(control("mirror decided again")) == LATCH.splitlines()


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_every_control_has_a_picture(wrong: Control) -> None:
    """Given the run of a control, then its picture has a line for each step, fit for a mail, with the phases that it goes through."""
    lines = drawn(wrong)
    run = run_of(wrong)
    assert run is not None
    assert [line[:3].strip() for line in lines] == ["", "", *(str(number) for number in range(1, len(run) + 1))]
    assert max(map(len, lines)) <= 130
    assert all(step.rule.id.rpartition(".")[2] in line for step, line in zip(run.steps, lines[2:], strict=True))


def test_messages_and_the_main_channel_are_shown() -> None:
    """Given runs with messages, and with a page of the main channel, then those that are on their way, and that channel, can be seen."""
    answered = drawn(control("take-over drops an answered checkpoint"))
    assert answered[0].endswith("on the way")
    assert next(line for line in answered if "answer" in line).endswith("VMSTATE_RECEIVED")
    assert "main" in drawn(control("main channel elides"))[0]
    assert "mfd0" not in drawn(control("main channel elides"))[0]


def test_explore_draws() -> None:
    """Given --picture, then the run is drawn: to what is asked for, or to what shows a control; without either there is no run."""
    asked = CliRunner().invoke(explore, ["--control", "mirror decided again", "--picture"])
    assert (asked.exit_code, asked.stdout) == (1, LATCH)
    until = CliRunner().invoke(explore, ["--until", "phase.start", "--channels", "1", "--pages", "1", "--picture", "--json"])
    assert until.exit_code == 0
    assert len(json.loads(until.stdout)["picture"]) == 3
    harmless = CliRunner().invoke(explore, ["--control", "elision never", "--picture", "--channels", "1", "--pages", "1"])
    assert (harmless.exit_code, harmless.stdout) == (0, "no run breaks what it should in the slice core\n")
    assert CliRunner().invoke(explore, ["--picture"]).exit_code == 2
