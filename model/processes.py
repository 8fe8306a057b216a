"""Many calls of one function, by as many processes as there are processors."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_processes(function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """Yield the result for each task, in their order; BrokenProcessPool if a process dies, and whatever the function raises.

    Processes begin anew and share nothing, so the function stands in a module, and tasks are told apart by what they hold:
    rules and cells, which are told apart by identity, are not to be sent.
    The first ones begin before the last task is made. With one processor, this process does it all.
    """
    count = len(os.sched_getaffinity(0))
    if count < 2:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))
    try:
        yield from pool.map(function, tasks)
    finally:
        pool.shutdown(cancel_futures=True)
