"""Both receivers make of every shipped capture what its source had, and of a damaged one what the damage makes of it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from colofd.conformance import command, replay_impl, replay_model
from colofd.conformance.captures import Capture, find, load, shipped
from colofd.conformance.replay import Report, judge
from colofd.spec.constants import HELLO_SIZE, MAIN_CHANNEL, packet_size


def both(capture: Capture) -> Report:
    return judge(capture, {"impl": replay_impl.read(capture), "model": replay_model.read(capture)})


@pytest.mark.parametrize("folder", shipped(), ids=lambda folder: folder.name)
def test_a_shipped_capture_replays(folder: Path) -> None:
    """Given a shipped capture, when both receivers read it, then every digest, every reply and every RAM block is equal."""
    capture = load(folder)
    report = both(capture)
    assert report.holds, report
    assert all(len(verdict.checkpoints) == len(capture.checkpoints) for verdict in report.readings.values())
    assert report.readings["impl"].replies_equal
    assert all(set(verdict.bytes) == set(capture.streams) for verdict in report.readings.values())


def damaged(name: str, channel: str, at: int, bit: int = 1) -> Capture:
    """Return a capture with one bit of one channel flipped."""
    capture = load(find(name))
    content = bytearray(capture.streams[channel])
    content[at] ^= bit
    return replace(capture, streams={**capture.streams, channel: bytes(content)})


def first_payload(capture: Capture, channel: str) -> int:
    """Return the offset of the first payload byte of a multifd channel."""
    stream, at = capture.streams[channel], HELLO_SIZE
    while not int.from_bytes(stream[at + 20 : at + 24]):
        at += packet_size(capture.page_size)
    return at + packet_size(capture.page_size)


def test_a_flipped_bit_of_a_page_is_seen_by_both() -> None:
    """Given one flipped bit in a page that is never sent again, when replayed, then both digests differ from the record alone."""
    name = "none-precopy-mfd2-none"
    report = both(damaged(name, "mfd0", first_payload(load(find(name)), "mfd0")))
    assert [verdict.final and verdict.final.ok for verdict in report.readings.values()] == [False, False]
    assert not report.disagreements
    assert not report.holds


@pytest.mark.parametrize(
    ("name", "channel", "at", "bit", "refused"),
    [
        ("none-precopy-mfd2-none", "mfd0", HELLO_SIZE, 0x80, "packet-magic on mfd0 at byte 64"),
        ("none-colo-mfd2-none", "mfd1", HELLO_SIZE + 7, 0x01, "packet-version on mfd1 at byte 68"),
        ("precopy-mfd4-zlib", "mfd2", HELLO_SIZE + 12, 0x80, "packet-pages-alloc on mfd2 at byte 76"),
        ("none-precopy-mfd2-none", MAIN_CHANNEL, 7, 0x01, "stream-version-obsolete on main at byte 4"),
    ],
)
def test_a_flipped_bit_of_a_header_is_refused_by_both(name: str, channel: str, at: int, bit: int, refused: str) -> None:
    """Given one flipped bit in a header, when replayed, then both receivers refuse it for the same reason at the same place."""
    report = both(damaged(name, channel, at, bit))
    assert {reading: (verdict.refused or "").partition(":")[0] for reading, verdict in report.readings.items()} == {
        "impl": refused,
        "model": refused,
    }
    assert not report.holds


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["colofd", "replay", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().out


def test_the_report_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a capture of COLO, when replayed with --json, then one object says what each receiver has at each checkpoint."""
    capture = load(find("none-colo-mfd2-none"))
    code, shown = run(monkeypatch, capsys, "none-colo-mfd2-none", "--json")
    assert code == 0
    report = json.loads(shown)
    assert report["capture"] == "none-colo-mfd2-none"
    assert list(report["readings"]) == ["impl", "model"]
    for reading in report["readings"].values():
        assert [(each["index"], each["ok"], each["sha256"]) for each in reading["checkpoints"]] == [
            (each.index, True, each.sha256) for each in capture.checkpoints
        ]
        assert reading["final"] is None
        assert reading["bytes"] == {channel: len(stream) for channel, stream in capture.streams.items()}
        assert reading["unaccounted_bytes"] == 0


@pytest.mark.parametrize("on", ["impl", "model"])
def test_one_receiver_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], on: str) -> None:
    """Given --on, when replayed, then only this receiver reads, and the text ends with the verdict."""
    code, shown = run(monkeypatch, capsys, str(find("none-precopy-mfd2-none")), "--on", on)
    assert code == 0
    assert shown.splitlines()[-1] == "  all equal"
    assert {line.split()[0] for line in shown.splitlines()[1:-1]} == {on}


def test_a_difference_ends_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a capture whose recorded digest is another one, when replayed, then the text says so and the exit code is 1."""
    other = replace(load(find("none-precopy-mfd2-none")), final_sha256="0" * 64)
    monkeypatch.setattr("colofd.conformance.replay_command.load", lambda _: other)
    code, shown = run(monkeypatch, capsys, "none-precopy-mfd2-none", "--on", "impl")
    assert code == 1
    assert "DIFFERS" in shown
    assert shown.splitlines()[-1] == "  NOT equal"
