"""Vectors of recordings of real QEMU, by reference: the files are shipped, and too long to be written again."""

import hashlib
from collections.abc import Iterator

from colofd.conformance.captures import Capture, load, shipped
from colofd.conformance.replay_model import read
from colofd.conformance.vector_format import CaptureFile, Setup, Vector, VectorBlock, Verdict
from colofd.model.decode import blocks_of
from colofd.spec.constants import MAIN_CHANNEL, Step

FAMILY = "capture"


def capture_vectors() -> Iterator[Vector]:
    """Yield a vector for each shipped recording. ValueError if the model does not come to its digests."""
    for folder in shipped():
        capture = load(folder)
        _require_model(capture)
        files = [CaptureFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(folder.iterdir())]
        rules = [Step.ENTER_COLO.value, Step.COMMIT.value] if capture.colo else [Step.COMPLETE.value]
        yield Vector(f"capture.{capture.name}", FAMILY, rules, _setup(capture), Verdict(is_accepted=True), [], files=files)


def _setup(capture: Capture) -> Setup:
    blocks = [VectorBlock(name, length) for name, length in blocks_of(capture.streams[MAIN_CHANNEL], capture.context)]
    return Setup(blocks, capture.channels, capture.colo, capture.compression, capture.page_size)


def _require_model(capture: Capture) -> None:
    reading = read(capture)
    final = None if reading.final is None else reading.final[capture.ram_block]
    wanted = [each.sha256 for each in capture.checkpoints]
    if reading.refused or [each[capture.ram_block] for each in reading.checkpoints] != wanted or (final and final != capture.final_sha256):
        raise ValueError(f"the model does not come to the digests of {capture.name}: {reading.refused}")
