"""Spreads the pieces of a check over a cluster of Dask: it gives pieces to workers, and gives those of a dead one to another."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from distributed import Client, LocalCluster

from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.spread import Spread

P = TypeVar("P")
F = TypeVar("F")

_CONNECT_SECONDS: Final = 10.0
_PIECE_SECONDS: Final = 900.0
"""How long what is next may take, with all that is before it on its worker."""


@contextlib.contextmanager
def spread_over(workers: int | None, scheduler: str) -> Iterator[Spread]:
    """Give what runs pieces in so many processes of this machine, or on the workers of a scheduler that runs already.

    Each worker runs one piece at a time: a receiver has threads of its own. Diagnostic if there is no scheduler at the address.
    """
    if not scheduler:
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL) as cluster,
            Client(cluster) as client,
        ):
            yield partial(_on, client)
        return
    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        hint = "`dask scheduler` starts one, and `dask worker ADDRESS --nthreads 1` a worker, both with colofd installed"
        raise Diagnostic("scheduler-missing", f"there is no scheduler at {scheduler}", str(error), hint) from error
    with client:
        yield partial(_on, client)


def _on(client: Client, function: Callable[[P], F], pieces: Sequence[P]) -> Iterable[F]:
    """Yield what comes of the pieces, in their order; what is not asked for any more is not run. Diagnostic if the workers are silent."""
    futures = client.map(function, pieces, pure=False)
    try:
        for future in futures:
            yield future.result(_PIECE_SECONDS)
    except TimeoutError as error:
        hint = "look at the workers' output: each must be able to import colofd, and the subject"
        raise Diagnostic("cluster-silent", "the workers do not answer", f"nothing within {_PIECE_SECONDS:g} s", hint) from error
    finally:
        client.cancel(futures)
