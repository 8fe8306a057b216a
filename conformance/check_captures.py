"""Checks the built-in receiver on recordings of real QEMU: RAM, replies, and its run, which must be one that the spec allows."""

from dataclasses import dataclass
from pathlib import Path

from colofd.conformance import replay_impl, replay_model
from colofd.conformance.captures import Capture, load
from colofd.conformance.replay import Report, judge
from colofd.impl import Event
from colofd.model.machine import Machine
from colofd.model.sent import read_recording
from colofd.model.trace import Acceptor, Refused, numbered
from colofd.spec.constants import MAIN_CHANNEL
from colofd.spec.reasons import Rejected


@dataclass(frozen=True)
class CaptureResult:
    """A recording: how many recorded digests were compared, how many micro-steps accepted, and whether all of it was as it should be."""

    name: str
    digests_checked: int
    micro_steps: int
    ok: bool
    why: str = ""


def check_capture(folder: Path) -> CaptureResult:
    """Replay one recording on the receiver and on the model, and let the model accept the receiver's run."""
    capture = load(folder)
    events: list[Event] = []
    report = judge(capture, {"impl": replay_impl.read(capture, events.append), "model": replay_model.read(capture)})
    digests = sum(len(verdict.checkpoints) + bool(verdict.final) for verdict in report.readings.values())
    why = _differences(report) or _refusal(capture, events)
    return CaptureResult(capture.name, digests, len(events), not why, why)


def _differences(report: Report) -> str:
    refused = [verdict.refused for verdict in report.readings.values() if verdict.refused]
    different = [f"{each.block} differs at {each.at}" for each in report.disagreements]
    return "; ".join([*refused, *different]) or ("" if report.holds else "RAM or replies are not as recorded")


def _refusal(capture: Capture, events: list[Event]) -> str:
    """Return why the spec refuses a run of the receiver on this recording; empty if it allows it."""
    if not events:
        return "the receiver reported no micro-steps"
    try:
        recording = read_recording(
            capture.streams, channels=capture.channels, compression=capture.compression, colo=capture.colo, page_size=capture.page_size
        )
        machine = Machine(recording.layout.pages, capture.channels, colo=capture.colo, page_size=capture.page_size)
        packets = {name: [sent for packets in rounds for sent in packets] for name, rounds in recording.rounds.items()}
        sent = numbered(packets | {MAIN_CHANNEL: list(recording.records.values())})
        Acceptor(machine, sent).accept_recorded(events)
    except (Refused, Rejected) as refusal:
        return str(refusal)
    return ""
