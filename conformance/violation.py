"""What a schedule found."""

from collections.abc import Sequence


class Violation(Exception):  # noqa: N818  # says what was found
    """The receiver did something that the spec does not allow. `rule` is the id of the rule or clause, `moves` the schedule."""

    def __init__(self, rule: str, why: str, moves: Sequence[str]) -> None:
        self.rule = rule
        self.why = why
        self.moves = tuple(moves)
        super().__init__(f"{rule}: {why}\nafter the moves:\n  " + "\n  ".join(moves))
