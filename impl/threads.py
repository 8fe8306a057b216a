"""How a receive thread ends: its error reported, its exit the last thing said."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from colofd.impl.reception import EndedError, Reception
from colofd.spec.constants import Step
from colofd.spec.reasons import Reason, Rejected

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


def run_receiver(channel: str, reception: Reception, receive: Callable[[], None]) -> None:
    """Run the receive function of a channel in its thread, from start to EXIT."""
    try:
        receive()
    except EndedError:
        pass
    except Rejected as error:
        reception.fail(error, channel)
    except BaseException as error:  # noqa: BLE001  # an unforeseen failure, SystemExit too, must wake everybody as a foreseen one does
        reception.fail(Rejected(Reason.EMBEDDER, channel=channel, read=f"the receive thread raised {error!r}"), channel)
    finally:
        reception.tracer.gate(Step.EXIT, channel)
        with reception.lock:
            reception.tracer.emit(Step.EXIT, channel)


def call_hook(
    name: str, reason: Reason, hook: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Return what a hook of the embedding program returns; whatever it raises becomes Rejected(reason)."""
    try:
        return hook(*arguments, **named)
    except BaseException as error:
        raise Rejected(reason, read=f"{name} raised {error!r}") from error
