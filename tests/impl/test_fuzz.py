"""Recorded migrations with damaged headers: refused, or received as if nothing was wrong."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from colofd.conformance.captures import TO_DESTINATION, Capture, Event, find, load
from colofd.conformance.replay_player import Player
from colofd.impl import Block, Commit, Deadlines, Destination, Phase
from colofd.impl.packet import PacketReader
from colofd.model.decode import Context, Item, blocks_of, decode_main, decode_multifd
from colofd.spec.constants import MAIN_CHANNEL, MULTIFD_MAGIC
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import SECONDS, receive_threads

CAPTURES: Final = ("none-precopy-mfd2-none", "none-colo-mfd2-none")
DAMAGES: Final = 50
PATIENCE: Final = 0.1
"""Seconds until a source that waits for a reply in vain hangs up."""

DEADLINES: Final = Deadlines(connect=SECONDS, progress=SECONDS, idle=SECONDS)
PACKET: Final = "multifd.packet"
HEAD: Final = {PACKET: 32}
"""Bytes of an item that are damaged: of a packet those which do not say what is in which page."""


@dataclass(frozen=True)
class Damage:
    """`removed` bytes of a channel at `offset` replaced by `added`; if `is_cut`, nothing comes after them."""

    channel: str
    offset: int
    removed: int
    added: bytes
    is_cut: bool

    def of(self, capture: Capture) -> Capture:
        """Return the damaged recording, with lengths of its events to fit."""
        whole = capture.streams[self.channel]
        rest = b"" if self.is_cut else whole[self.offset + self.removed :]
        stream = whole[: self.offset] + self.added + rest
        events = tuple(self._events(capture.events, len(stream)))
        return replace(capture, streams={**capture.streams, self.channel: stream}, events=events)

    def _events(self, events: tuple[Event, ...], size: int) -> Iterator[Event]:
        """Yield the events; those of the channel end where its bytes do, and one brings the difference."""
        before = after = 0
        for event in events:
            if (event.channel, event.direction) != (self.channel, TO_DESTINATION) or not event.length:
                yield event
                continue
            before += event.length
            is_past = before > self.offset
            reached = min(size, before + (len(self.added) - self.removed if is_past else 0))
            if reached > after:
                yield event._replace(length=reached - after)
                after = reached


def context_of(capture: Capture) -> Context:
    return Context(
        page_size=capture.page_size,
        channels=capture.channels,
        compression=capture.compression,
        colo=capture.colo,
        capabilities=capture.capabilities,
    )


def items(capture: Capture) -> list[tuple[str, Item]]:
    """Return all items of all channels."""
    context = context_of(capture)
    return [
        (name, item)
        for name, stream in capture.streams.items()
        for item in (decode_main(stream, context) if name == MAIN_CHANNEL else decode_multifd(stream, context))
    ]


def damages(capture: Capture, seed: int) -> Iterator[Damage]:
    """Yield damages of item heads: a byte changed, bytes inserted or left out, or the end of the channel."""
    chance, places = np.random.default_rng(seed), items(capture)
    while True:
        channel, item = places[chance.integers(len(places))]
        offset = item.offset + int(chance.integers(min(item.size, HEAD.get(item.name, 12))))
        some = chance.bytes(int(chance.integers(1, 9)))
        yield (
            Damage(channel, offset, 1, some[:1], is_cut=False),
            Damage(channel, offset, 0, some, is_cut=False),
            Damage(channel, offset, len(some), b"", is_cut=False),
            Damage(channel, item.offset, 0, b"", is_cut=True),
            Damage(channel, offset, 0, b"", is_cut=True),
        )[chance.integers(5)]


@dataclass
class Reception:
    """A damaged recording that is received: commits as digests, and the error if there was one."""

    capture: Capture
    destination: Destination
    commits: list[str]
    error: Rejected | None = None

    def wrongs(self, expected: list[str]) -> Iterator[str]:
        """Yield what a receiver may not do, and let COLO fail over."""
        error, commits = self.error, self.commits
        if error is not None and (error.reason is Reason.EMBEDDER or (error.channel and error.offset < 0)):
            yield f"no refusal of what came: {error}"
        if commits != expected[: len(commits)]:
            yield f"commit {len(commits) - 1} is not what was recorded"
        if error is None and len(commits) < len(expected):
            yield "an end without an error"
        if not commits:
            if self.destination.phase is not Phase.FAILED:
                yield f"phase {self.destination.phase} without a commit"
            return
        if self.capture.colo:
            self.destination.failover(SECONDS)
        if digest(self.destination.guest(self.capture.ram_block)) != commits[-1]:
            yield "RAM is not the last commit"


def digest(memory: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(memory.data).hexdigest()


def receive(capture: Capture, blocks: list[Block], expected: list[str]) -> list[str]:
    """Receive a damaged recording, and return what is wrong about that."""
    commits: list[str] = []

    def on_commit(commit: Commit) -> None:
        commits.append(digest(commit.blocks[capture.ram_block]))

    with Destination(
        blocks, capture.channels, colo=capture.colo, compression=capture.compression, on_commit=on_commit, deadlines=DEADLINES
    ) as destination:
        reception = Reception(capture, destination, commits)
        with Player(capture, destination.attach, patience=PATIENCE) as player, contextlib.suppress(Rejected, KeyError):
            # If the receiver has hung up, or does not reply, the source hangs up. Its main channel may not even exist.
            player.play()
        try:
            destination.wait(SECONDS)
        except Rejected as refused:
            reception.error = refused
        found = list(reception.wrongs(expected))
    return [*found, *(f"left: {name}" for name in receive_threads())]


def first_wrong(name: str, count: int) -> str | None:
    """Return the first wrong thing, and the damage that led to it."""
    capture = load(find(name))
    expected = [checkpoint.sha256 for checkpoint in capture.checkpoints] if capture.colo else [str(capture.final_sha256)]
    blocks = [Block(*block) for block in blocks_of(capture.streams[MAIN_CHANNEL], context_of(capture))]
    for damage, _ in zip(damages(capture, seed=1), range(count), strict=False):
        for wrong in receive(damage.of(capture), blocks, expected):
            return f"{wrong}, after {damage}"
    return None


@pytest.mark.parametrize("name", CAPTURES)
def test_damage_is_refused_or_does_no_harm(name: str) -> None:
    """Given a recording with a damaged header, when it is received, then it is refused, or every commit is as recorded."""
    assert first_wrong(name, DAMAGES) is None


def test_the_fuzzer_notices_a_reader_that_fails_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a reader that raises ValueError at a bad magic (control), when recordings are damaged, then that is noticed."""

    def check_head(_self: PacketReader, head: bytes | memoryview, _at: int) -> None:
        if int.from_bytes(head[:4]) != MULTIFD_MAGIC:
            raise ValueError("magic")

    monkeypatch.setattr(PacketReader, "check_head", check_head)
    wrong = first_wrong(CAPTURES[0], DAMAGES)
    assert wrong is not None
    assert "the receive thread raised ValueError" in wrong
