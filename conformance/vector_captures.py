"""Vectors of recordings of real QEMU, by reference: the files are shipped, and too long to be written again."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from colofd.conformance import replay_impl, replay_model
from colofd.conformance.captures import Capture, load, shipped
from colofd.conformance.replay import judge
from colofd.conformance.vector_format import CaptureFile, Setup, Vector, VectorBlock, Verdict, slug
from colofd.model.decode import blocks_of
from colofd.spec.constants import MAIN_CHANNEL, Step

FAMILY = "capture"


def capture_vectors() -> Iterator[Vector]:
    """Yield a vector for each shipped recording."""
    for folder in shipped():
        capture = load(folder)
        files = [CaptureFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(folder.iterdir())]
        rules = [str(Step.ENTER_COLO), str(Step.COMMIT)] if capture.colo else [str(Step.COMPLETE)]
        yield Vector(
            slug(rules[-1], f"recording {capture.name}"), FAMILY, rules, _setup(capture), Verdict(is_accepted=True), [], files=files
        )


def why_not_as_recorded(vector: Vector) -> str:
    """Replay the recording of a vector on the built-in receiver and on the model; return what differs, empty if nothing does."""
    capture = load(folder_of(vector))
    report = judge(capture, {"impl": replay_impl.read(capture), "model": replay_model.read(capture)})
    return "" if report.holds else f"{vector.id}: RAM or replies are not as recorded"


def folder_of(vector: Vector) -> Path:
    """Return where the recording of a vector is."""
    name = vector.id.rpartition("/")[2].removeprefix("recording-")
    return next(folder for folder in shipped() if slug("", folder.name) == slug("", name))


def _setup(capture: Capture) -> Setup:
    blocks = [VectorBlock(name, length) for name, length in blocks_of(capture.streams[MAIN_CHANNEL], capture.context)]
    machine, uuid = capture.context.machine or "", (capture.context.uuid or b"").hex()
    return Setup(blocks, capture.channels, capture.colo, capture.compression, capture.page_size, machine, uuid, [])
