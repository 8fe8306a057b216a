"""The scenes whose interleavings are all run: packets that meet each other, a barrier, a failover, or the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from colofd.conformance.lockstep import Lockstep
from colofd.conformance.subjects import Options
from colofd.spec.constants import MAIN_CHANNEL, Step

Work = Mapping[str, Sequence[Step]]
"""By channel, the micro-steps that its thread will come to as long as nothing ends."""

MOST_PREEMPTIONS: Final = 2

_PLAIN: Final = Options(pages=4)
_DEFERRED: Final = replace(_PLAIN, is_mirror_deferred=True)

NORMAL: Final = (Step.PREPARE, Step.READ_PAGE, Step.PAYLOAD_COMPLETE, Step.MIRROR, Step.PACKET_DONE)
ZERO: Final = (Step.PREPARE, Step.ZERO_PAGE, Step.PAYLOAD_COMPLETE, Step.MIRROR, Step.PACKET_DONE)
BOTH: Final = (Step.PREPARE, Step.ZERO_PAGE, Step.READ_PAGE, Step.PAYLOAD_COMPLETE, Step.MIRROR, Step.PACKET_DONE)
CUT: Final = (Step.PREPARE, Step.READ_PAGE, Step.EXIT)
RECORD: Final = (Step.MAIN_PREPARE, Step.MAIN_READ_PAGE, Step.MAIN_MIRROR)
FLUSH: Final = (Step.CHECKPOINT_RECEIVED, Step.ANSWER, Step.FLUSH_BEGIN, Step.FLUSH_PAGE, Step.COMMIT)


class Ending(Enum):
    """What the caller does beside the threads."""

    FAIL_OVER = "failover"
    CLOSE = "close"


@dataclass(frozen=True)
class Scene:
    """A packet sequence: `set` brings a receiver to where it begins, puts bytes on the channels and returns the work that they make.

    `interleavings` is how many there are with at most `MOST_PREEMPTIONS` preemptions.
    """

    name: str
    set: Callable[[Lockstep], Work]
    ending: Ending | None
    interleavings: int
    options: Options = _PLAIN


def _checkpoint(run: Lockstep) -> None:
    """Go on until a checkpoint is being received; page 0 has content."""
    run.primary_writes(0, 1)
    run.end_precopy()
    run.primary_writes(0, 2)
    run.primary_writes(1, 3)
    run.begin_checkpoint()


def _end_round(run: Lockstep) -> None:
    for name in run.peer.channels:
        run.peer.put_sync(name)
    run.peer.put_round_end()


def _put_first_part(run: Lockstep, channel: str, page: int) -> None:
    """Put a packet without its last bytes on a channel, which then ends."""
    sent = run.peer.take([page])
    run.acceptor.sent[channel].append(sent)
    run.peer.put(channel, run.peer.packet(channel, sent)[:-100])
    run.peer.ends[channel].close()


def _packet_with_a_zero_page(run: Lockstep) -> Work:
    run.primary_writes(0, 1)
    run.end_precopy()
    run.primary_writes(0, 0)
    run.primary_writes(1, 3)
    run.begin_checkpoint()
    run.send("mfd0", [0, 1])
    return {"mfd0": BOTH}


def _two_packets(run: Lockstep) -> Work:
    _checkpoint(run)
    run.send("mfd0", [0])
    run.send("mfd1", [1])
    return {"mfd0": NORMAL, "mfd1": NORMAL}


def _packet_and_record(run: Lockstep) -> Work:
    _checkpoint(run)
    run.send(MAIN_CHANNEL, [0])
    run.send("mfd0", [1])
    return {MAIN_CHANNEL: RECORD, "mfd0": NORMAL}


def _end_of_round(run: Lockstep) -> Work:
    _checkpoint(run)
    run.send("mfd0", [1])
    _end_round(run)
    return {"mfd0": (*NORMAL, Step.PARK), "mfd1": (Step.PARK,), MAIN_CHANNEL: (Step.RELEASE,)}


def _flush(run: Lockstep) -> Work:
    _checkpoint(run)
    run.send_rest()
    run.peer.put_checkpoint_end()
    return {MAIN_CHANNEL: FLUSH}


def _cut(run: Lockstep) -> Work:
    _checkpoint(run)
    run.send("mfd0", [1])
    _put_first_part(run, "mfd1", 0)
    return {"mfd0": NORMAL, "mfd1": CUT}


def _precopy(run: Lockstep) -> Work:
    run.primary_writes(0, 1)
    run.primary_writes(1, 2)
    run.send("mfd0", [0])
    run.send("mfd1", [1])
    return {"mfd0": NORMAL, "mfd1": NORMAL}


def _precopy_round(run: Lockstep) -> Work:
    run.primary_writes(0, 1)
    run.send("mfd0", [0])
    run.send("mfd1", [1])
    _end_round(run)
    run.send("mfd0", [2])
    return {"mfd0": (*NORMAL, Step.PARK, *ZERO), "mfd1": (*ZERO, Step.PARK), MAIN_CHANNEL: (Step.RELEASE,)}


SCENES: Final = (
    Scene("a packet of a checkpoint, and failover", _packet_with_a_zero_page, Ending.FAIL_OVER, 138),
    Scene("two packets of a checkpoint, and failover", _two_packets, Ending.FAIL_OVER, 1314),
    Scene("a packet and a record of a checkpoint, and failover", _packet_and_record, Ending.FAIL_OVER, 810),
    Scene("the end of a round, and failover", _end_of_round, Ending.FAIL_OVER, 630),
    Scene("answer and flush, and failover", _flush, Ending.FAIL_OVER, 48),
    Scene("answer and flush, and close", _flush, Ending.CLOSE, 48),
    Scene("a packet beside a channel that dies in a checkpoint", _cut, None, 74),
    Scene("two packets of precopy, and close", _precopy, Ending.CLOSE, 1314),
    Scene("two rounds of precopy", _precopy_round, None, 62),
    Scene("two rounds of precopy, mirror deferred", _precopy_round, None, 62, _DEFERRED),
)
"""The stated set. Together they have every micro-step of packets, records, barriers and checkpoints beside others."""
