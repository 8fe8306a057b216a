"""Names on the command line that stand for nothing."""

import difflib
from collections.abc import Sequence

import click


class UnknownName(click.ClickException):
    """There is no `what` of this name; the message lists the nearest of the `names` that there are, or all of them."""

    exit_code = 2

    def __init__(self, what: str, name: str, names: Sequence[str]) -> None:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(names)}"
        super().__init__(f"there is no {what} {name!r}; {hint}")
