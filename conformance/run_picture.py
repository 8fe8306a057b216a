"""A run as a sequence picture in plain text, for a mail or a review: lanes for who does something, columns for what the pages hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from colofd.model.finite import Instance, Step
from colofd.model.finite_slices import MAIN_NUMBER
from colofd.model.search_runs import Run
from colofd.spec.constants import MAIN_CHANNEL, channel_name
from colofd.spec.language import Actor
from colofd.spec.state import Channel, World

PRIMARY: Final = "primary"
SECONDARY: Final = "secondary"
COPIES: Final = (World.primary.name, World.cache.name, World.guest.name)
"""Whose content of a page is shown, in the order of the columns."""


@dataclass(frozen=True)
class _Row:
    """What one step does: a text in each lane that has a part in it, and what the state holds after it."""

    texts: dict[str, str]
    contents: Sequence[str]
    on_the_way: str


def picture(instance: Instance, run: Run) -> list[str]:
    """Return the lines of a picture of a run.

    A lane is the primary, a channel, or the secondary; channels without a part in the run have none. An arrow is a page that is sent.
    For each page stand its contents at the primary, in the cache and in the guest, as numbers, in brackets where the step has changed it.
    The last column has the messages that are on their way.
    """
    described = [instance.described(state) for state in run.states]
    shown = [name for page in range(instance.sizes.pages) for cell in COPIES if (name := f"{cell}_{page}") in described[0]]
    lanes = [PRIMARY, *channels(run), SECONDARY]
    rows = [
        _Row(texts(step, before, after), [_content(before, after, name) for name in shown], _messages(after))
        for step, (before, after) in zip(run.steps, pairwise(described), strict=True)
    ]
    begin = _Row({SECONDARY: described[0]["phase"]}, [f" {described[0][name]} " for name in shown], "")
    return list(_lines([begin, *rows], lanes, shown))


def channels(run: Run) -> list[str]:
    """Return the lanes of the channels that have a part in a run."""
    numbers = {number for step in run.steps if (number := _channel(step)) is not None}
    return [_lane(number) for number in sorted(numbers)]


def _channel(step: Step) -> int | None:
    """Return the number of the channel that a step is about, if there is one."""
    for parameter, argument in zip(step.rule.parameters, step.arguments, strict=True):
        if parameter.sort is Channel:
            return argument
    return MAIN_NUMBER if step.rule.id.startswith("main.") else None


def _lane(channel: int) -> str:
    return MAIN_CHANNEL if channel == MAIN_NUMBER else channel_name(channel - 1)


def texts(step: Step, before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """Return what a step is in each lane that has a part in it, the one who takes it first; states are as an instance describes them."""
    family, _, action = step.rule.id.partition(".")
    given = [
        str(argument) for parameter, argument in zip(step.rule.parameters, step.arguments, strict=True) if parameter.sort is not Channel
    ]
    text = " ".join([action, "=".join(given)]).strip()
    channel = _channel(step)
    if before["phase"] != after["phase"]:
        text += f": {after['phase']}"
    if channel is not None and step.rule.actor is Actor.PRIMARY:
        return {PRIMARY: text, _lane(channel): "->"}
    if channel is not None:
        return {_lane(channel): text}
    is_of_primary = step.rule.actor is Actor.PRIMARY or (family == "fault" and "primary" in action)
    return {PRIMARY if is_of_primary else SECONDARY: text}


def _content(before: dict[str, str], after: dict[str, str], name: str) -> str:
    return f"[{after[name]}]" if before[name] != after[name] else f" {after[name]} "


def _messages(state: dict[str, str]) -> str:
    return ", ".join(name.removeprefix("in_flight_") for name, held in state.items() if name.startswith("in_flight_") and held == "yes")


def _lines(rows: Sequence[_Row], lanes: Sequence[str], shown: Sequence[str]) -> Iterator[str]:
    widths = {lane: max(len(lane), *(len(row.texts.get(lane, "")) for row in rows)) for lane in lanes}
    heads = [name.replace("_", " ") for name in shown]
    has_messages = any(row.on_the_way for row in rows)
    head = "  ".join([f"{lane:{widths[lane]}}" for lane in lanes] + heads + ["on the way"] * has_messages)
    yield f"     {head}".rstrip()
    for number, row in enumerate(rows):
        cells = [f"{row.texts.get(lane, '|' if lane != SECONDARY else ''):{widths[lane]}}" for lane in lanes]
        held = [f"{content:^{len(text)}}" for content, text in zip(row.contents, heads, strict=True)]
        line = "  ".join([*cells, *held, row.on_the_way])
        yield f"{number or '':>3}  {line}".rstrip()
