"""The model's reading of a recorded migration: it is given the bytes."""

from colofd.conformance.captures import Capture
from colofd.conformance.replay import Reading
from colofd.model.receiver import receive
from colofd.spec.reasons import Rejected


def read(capture: Capture) -> Reading:
    """Let the model read the streams of a capture."""
    try:
        reading = receive(
            capture.streams, channels=capture.channels, compression=capture.compression, colo=capture.colo, page_size=capture.page_size
        )
    except Rejected as rejected:
        return Reading(checkpoints=(), final=None, consumed={}, replies=None, refused=rejected)
    return Reading(tuple(reading.checkpoints), None if capture.colo else reading.final, reading.consumed, replies=None)
