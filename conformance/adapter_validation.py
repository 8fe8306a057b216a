"""Tries every verb of an adapter, in the orders in which they come: for those who write one."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from colofd.conformance.adapter import Adapter, Refusal
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.exec_subject import AdapterPool, ExecReceiver
from colofd.conformance.subjects import Options
from colofd.spec.constants import Compression

SMALL: Final = Options(pages=3, channels=0, colo=False)
LARGER: Final = Options(pages=40, channels=3, compression=Compression.ZSTD)

_LISTEN_SECONDS: Final = 5.0


def validate(where: str, patience: float) -> Iterator[str]:
    """Yield what was found to be right, one after the other; Diagnostic at the first thing that is not."""
    with Adapter(where, patience) as adapter:
        yield f"hello: {adapter.hello.name} {adapter.hello.version}, protocol {adapter.hello.protocol}"
        _refuses(lambda: adapter.ask("status"), "status", "without a receiver")
        yield "status: cannot, as there is no receiver"
        _refuses(lambda: adapter.ask("no-such-verb"), "no-such-verb", "as it is no verb")
        yield "an unknown verb: cannot"
        adapter.ask("stop", something_new=True)
        yield "stop: without a receiver, and with a key that nobody knows"
    with AdapterPool(where, patience) as pool:
        for options in (SMALL, LARGER, SMALL):
            yield from _receiver(pool, options)


def _receiver(pool: AdapterPool, options: Options) -> Iterator[str]:
    what = f"{options.pages} pages, {options.channels} channels"
    receiver = ExecReceiver(pool, options, pool.new_folder())
    try:
        yield f"start: {what}"
        if any(receiver.guest()):
            cause = "no byte of a migration has come, and RAM is not zeros"
            raise Diagnostic("adapter-lies", "guest RAM is not empty", cause, "a new receiver for each `start`")
        yield f"guest: {what}, all zeros"
        if (state := receiver.look()[0]) != "busy":
            raise Diagnostic("adapter-lies", "it says that it is at its end", f"{state}, before it has begun", "say `receiving`")
        yield "status: receiving"
        try:
            receiver.failover()
        except TimeoutError:
            yield "failover: cannot, outside of COLO"
        else:
            raise Diagnostic("adapter-lies", "it says that it took over", "there is no checkpoint", 'answer {"cannot": ...}')
        with receiver.connect():
            yield "address: somebody listens"
        _wait_for_failure(receiver)
        yield "status: failed, after a channel that said nothing"
    finally:
        receiver.close()
    yield "stop"


def _wait_for_failure(receiver: ExecReceiver) -> None:
    end = time.monotonic() + _LISTEN_SECONDS
    while not receiver.has_failed():
        if time.monotonic() > end:
            cause = f"its only channel has ended, and {_LISTEN_SECONDS} s later it says nothing of it"
            raise Diagnostic("adapter-lies", "it does not fail", cause, "say `failed` when a migration cannot be completed any more")
        time.sleep(0.01)


def _refuses(ask: Callable[[], object], verb: str, why: str) -> None:
    try:
        ask()
    except Refusal:
        return
    raise Diagnostic("adapter-lies", f"it answers {verb}, {why}", "there is nothing to answer", 'answer {"id": ..., "cannot": "why"}')
