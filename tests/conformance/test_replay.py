"""The player plays what was recorded, and the comparison sees every difference."""

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from colofd.conformance.captures import Capture, Event, find, load
from colofd.conformance.replay import Disagreement, Reading, judge
from colofd.conformance.replay_player import Player
from colofd.spec.constants import Compression
from colofd.spec.reasons import Reason, Rejected

LONG = bytes(range(256)) * 8192
"""2 MiB: more than a socket holds."""


def capture_of(events: list[tuple[str, str, int]], streams: Mapping[str, bytes], *, replies: bytes = b"", colo: bool = False) -> Capture:
    return replace(
        load(find("none-colo-mfd2-none")),
        events=tuple(Event(0.0, channel, ">" if direction == ">" else "<", length) for channel, direction, length in events),
        streams=streams,
        replies=replies,
        colo=colo,
        compression=Compression.NONE,
    )


class Peer:
    """A destination that notes what comes, with one thread for each channel."""

    def __init__(self, react: Callable[[bytes, socket.socket], None] | None = None) -> None:
        self.received: dict[bytes, bytes] = {}
        self.order: list[bytes] = []
        self._react = react
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def attach(self, connection: socket.socket) -> None:
        """Take one channel, known by its first byte."""
        first = connection.recv(1, socket.MSG_PEEK)
        self.order.append(first)
        self._sockets.append(connection)
        self._threads.append(threading.Thread(target=self._run, args=(first, connection)))
        self._threads[-1].start()

    def _run(self, first: bytes, connection: socket.socket) -> None:
        data = bytearray()
        while received := connection.recv(65536):
            data += received
            if self._react:
                self._react(bytes(data), connection)
        self.received[first] = bytes(data)

    def join(self) -> None:
        """Wait until the player has closed every channel, then close them on this side."""
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a channel was not closed"
        for connection in self._sockets:
            connection.close()


def test_every_byte_arrives_and_every_channel_is_closed() -> None:
    """Given more bytes than sockets hold, when played, then the channels open in the recorded order and carry exactly the record."""
    events = [("mfd0", ">", 10), ("main", ">", 7), ("mfd0", ">", len(LONG) - 10), ("mfd0", ">", 0), ("main", ">", 4), ("main", ">", 0)]
    peer = Peer()
    player = Player(capture_of(events, {"mfd0": LONG, "main": b"stream of 1"}), peer.attach, patience=30)
    player.play()
    peer.join()
    player.collect()
    player.close()
    assert peer.order == [LONG[:1], b"s"]
    assert peer.received == {LONG[:1]: LONG, b"s": b"stream of 1"}
    assert player.replies == b""


def test_bytes_after_a_reply_wait_for_it() -> None:
    """Given a record with a reply, when played, then what follows is sent only after the reply."""
    seen: list[bytes] = []

    def react(data: bytes, connection: socket.socket) -> None:
        seen.append(data)
        if data == b"ask":
            connection.sendall(b"yes")

    peer = Peer(react)
    events = [("main", ">", 3), ("main", "<", 3), ("main", ">", 4), ("main", ">", 0)]
    player = Player(capture_of(events, {"main": b"askmore"}), peer.attach, patience=30)
    player.play()
    peer.join()
    player.close()
    assert seen == [b"ask", b"askmore"]
    assert player.replies == b"yes"


def test_a_destination_that_never_replies_is_given_up() -> None:
    """Given a destination which does not reply, when the record waits for a reply, then the player gives up and says what for."""
    peer = Peer()
    player = Player(capture_of([("main", ">", 3), ("main", "<", 8)], {"main": b"ask"}), peer.attach, patience=0.05)
    with pytest.raises(Rejected) as caught:
        player.play()
    player.close()
    peer.join()
    assert caught.value.reason == Reason.DEADLINE
    assert caught.value.expected == "8 bytes of replies from the destination"


def test_a_destination_that_hangs_up_ends_the_play() -> None:
    """Given a destination which closes the main channel, when played, then the rest is not sent and nothing is raised."""
    theirs: list[socket.socket] = []

    def attach(connection: socket.socket) -> None:
        theirs.append(connection)
        connection.close()

    player = Player(capture_of([("main", ">", 3), ("main", "<", 8), ("main", ">", 4)], {"main": b"askmore"}), attach, patience=30)
    player.play()
    player.close()
    assert player.replies == b""


def test_colo_leaves_its_channels_open() -> None:
    """Given a record of COLO which ends with closed channels, when played, then they stay open until the player is closed."""
    closed = threading.Event()

    class Noting(Peer):
        def _run(self, first: bytes, connection: socket.socket) -> None:
            super()._run(first, connection)
            closed.set()

    peer = Noting()
    player = Player(capture_of([("main", ">", 3), ("main", ">", 0)], {"main": b"ask"}, colo=True), peer.attach, patience=30)
    player.play()
    assert not closed.is_set()
    player.close()
    assert closed.wait(30)
    peer.join()


def colo_capture() -> Capture:
    return load(find("none-colo-mfd2-none"))


def faithful(capture: Capture) -> Reading:
    """Return the reading of a receiver that does everything right."""
    return Reading(
        checkpoints=tuple({capture.ram_block: each.sha256, "rom": "same"} for each in capture.checkpoints),
        final=None if capture.final_sha256 is None else {capture.ram_block: capture.final_sha256},
        consumed={channel: len(stream) for channel, stream in capture.streams.items()},
        replies=capture.replies,
    )


@pytest.mark.parametrize("name", ["none-colo-mfd2-none", "none-precopy-mfd2-none"])
def test_a_faithful_reading_holds(name: str) -> None:
    """Given readings equal to the record (the control of the tests below), then the report holds."""
    capture = load(find(name))
    report = judge(capture, {"impl": faithful(capture), "model": replace(faithful(capture), replies=None)})
    assert report.holds
    assert report.readings["impl"].unaccounted_bytes == 0
    assert (report.readings["impl"].final is None) == capture.colo


def test_one_wrong_digest_is_seen() -> None:
    """Given a reading with one wrong checkpoint, then that checkpoint does not hold, and the other reading disagrees."""
    capture = colo_capture()
    right = faithful(capture)
    wrong = replace(right, checkpoints=(*right.checkpoints[:2], {capture.ram_block: "0", "rom": "same"}, *right.checkpoints[3:]))
    report = judge(capture, {"impl": wrong, "model": right})
    assert not report.holds
    assert [each.index for each in report.readings["impl"].checkpoints if not each.ok] == [2]
    assert report.readings["model"].holds
    sha256 = {"impl": "0", "model": capture.checkpoints[2].sha256}
    assert report.disagreements == (Disagreement("checkpoint 2", capture.ram_block, sha256),)


def test_a_block_without_a_recorded_digest_is_compared_between_readings() -> None:
    """Given readings that differ only in a block without a recorded digest, then each holds but the report does not."""
    capture = colo_capture()
    right = faithful(capture)
    other = replace(right, checkpoints=tuple({**digests, "rom": "other"} for digests in right.checkpoints))
    report = judge(capture, {"impl": right, "model": other})
    assert all(verdict.holds for verdict in report.readings.values())
    assert not report.holds
    assert {each.block for each in report.disagreements} == {"rom"}


def test_a_checkpoint_that_was_not_reached_does_not_hold() -> None:
    """Given a reading that was refused after two commits, then the rest does not hold and the refusal is told."""
    capture = colo_capture()
    refused = Rejected(Reason.PAGE_RANGE, channel="mfd0", offset=64)
    verdict = judge(capture, {"impl": replace(faithful(capture), checkpoints=faithful(capture).checkpoints[:2], refused=refused)}).readings[
        "impl"
    ]
    assert [each.ok for each in verdict.checkpoints] == [True, True, False, False, False, False]
    assert verdict.refused == "page-range on mfd0 at byte 64"
    assert not verdict.holds


@pytest.mark.parametrize("change", [{"replies": b"other"}, {"consumed": {}}, {"refused": Rejected(Reason.CLOSED)}])
def test_every_other_difference_is_seen(change: dict[str, object]) -> None:
    """Given right digests but other replies, unread bytes, or a refusal, then the reading does not hold."""
    capture = colo_capture()
    assert not judge(capture, {"impl": replace(faithful(capture), **change)}).holds  # type: ignore[arg-type]  # one of its fields


def test_a_reading_without_any_digest_does_not_hold() -> None:
    """Given a capture without recorded digests, then nothing was compared, and that is no success."""
    capture = replace(colo_capture(), checkpoints=())
    assert not judge(capture, {"impl": faithful(capture)}).holds
