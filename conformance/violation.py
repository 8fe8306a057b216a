"""What a schedule found."""

from collections.abc import Sequence
from typing import Any

from colofd.conformance.saved_schedule import SavedSchedule


class Violation(Exception):  # noqa: N818  # says what was found
    """The receiver did something that the spec does not allow. `rule` is the id of the rule or clause, `moves` the schedule in words.

    `recorded` is the schedule as data, if it was recorded.
    """

    def __init__(self, rule: str, why: str, moves: Sequence[str]) -> None:
        self.rule = rule
        self.why = why
        self.moves = tuple(moves)
        self.recorded: SavedSchedule | None = None
        super().__init__(f"{rule}: {why}\nafter the moves:\n  " + "\n  ".join(moves))

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is made again in another process."""
        return type(self), (self.rule, self.why, self.moves), self.__dict__
