"""Vectors of schedules: the directed ones, each shape of a receiver, drawn ones, and channels that die."""

import random
from collections.abc import Iterator
from typing import Final

from colofd.conformance.black_box_schedules import ENDS, MOVES, Move, play_moves
from colofd.conformance.schedules import DIRECTED, SHAPES, VARIANTS, plain
from colofd.conformance.subjects import Options
from colofd.conformance.vector_format import Vector, slug
from colofd.conformance.vector_script import Schedule, written
from colofd.spec.constants import Step

FAMILY: Final = "schedule"
DRAWN: Final = 400
"""Schedules that are drawn; those that cover nothing of their own are dropped."""


def schedule_vectors() -> Iterator[Vector]:
    """Yield the vectors of the directed schedules, of the plain one in each shape, and of drawn schedules."""
    for options in [each for each in VARIANTS if not each.is_mirror_deferred]:
        for directed in DIRECTED:
            # Those moves that a script does not have it refuses itself.
            yield from _if_written(f"{directed.__name__} {options.compression}", options, directed)
    for options in SHAPES:
        yield from _if_written(f"plain {options.channels} {options.compression} {'colo' if options.colo else 'precopy'}", options, plain)
    for number in range(DRAWN):
        yield from _if_written(f"drawn {number}", *_drawn(random.Random(number)))  # noqa: S311  # a schedule, no secret


def _if_written(name: str, options: Options, schedule: Schedule) -> Iterator[Vector]:
    rule = Step.COMMIT if options.colo else Step.COMPLETE
    vector = written(FAMILY, slug(rule, name), options, schedule)
    if vector is not None:
        yield vector


def _drawn(chance: random.Random) -> tuple[Options, Schedule]:
    set_ups = [each for each in (*VARIANTS, *SHAPES) if each.colo and not each.is_mirror_deferred and each.blocks == 1]
    options = chance.choice(set_ups)
    precopy, checkpoints = _moves(chance), _moves(chance)
    end = chance.choice(ENDS)
    return options, lambda run: play_moves(run, precopy, checkpoints, end)


def _moves(chance: random.Random) -> list[Move]:
    return [(chance.choice(MOVES), chance.randrange(100), chance.randrange(100)) for _ in range(chance.randrange(10))]
