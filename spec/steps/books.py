"""The books of claims about single steps, and which rules may take a step that leaves everything as it is."""

from colofd.spec.both_sides import BOTH_SIDES, BothSides
from colofd.spec.constants import Step
from colofd.spec.language import StepBook
from colofd.spec.receive_path import SPEC
from colofd.spec.state import World

steps = StepBook(
    SPEC,
    World,
    # The same content again, and a section without pages where there is no multifd channel.
    may_idle=("guest.primary-write", "guest.secondary-write", Step.READ_PART, Step.MAIN_READ_PART, Step.RELEASE),
)
"""Of the receive path."""

steps_of_both = StepBook(
    BOTH_SIDES,
    BothSides,
    # With the layer, a rule of the receive path does no less than without it.
    # Beside those: the same device state again; who is dead dies again, and what is not on its way is lost.
    may_idle=(
        *(rule.id for rule in SPEC.rules),
        "guest.primary-device",
        "guest.secondary-device",
        "fault.primary-dies",
        "fault.message-lost",
    ),
)
"""Of both sides."""
