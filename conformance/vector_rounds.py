"""Vectors of the order of things: rounds that are left open, pages at a time when none may come, and each COLO message at each stage."""

from collections.abc import Callable, Iterator
from typing import Final

from colofd.conformance import stream
from colofd.conformance.subjects import Options
from colofd.conformance.vector_format import Vector, Verdict, slug
from colofd.conformance.vector_script import ScriptWriter, refused_after, setup_of, written
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, SectionType, Step
from colofd.spec.reasons import Reason

FAMILY: Final = "round"
_ORDER: Final = "wire.colo.message-order"
_CHANNELS: Final = ("mfd0", "mfd1")

Moves = Callable[[ScriptWriter], None]


def round_vectors() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the vectors with what each covers."""
    yield from _plain()
    yield from _left_open()
    yield from _out_of_phase()
    yield from _messages()
    yield from _empty_rounds()


def _options(*, colo: bool = True, channels: int = 2) -> Options:
    return Options(pages=4, channels=channels, colo=colo)


_PLAIN: Final = {colo: slug(Step.COMMIT if colo else Step.COMPLETE, "every round is ended") for colo in (True, False)}


def _plain() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the twins: in these every round is ended."""
    for colo, name in _PLAIN.items():
        yield _positive(name, "every round is ended", _options(colo=colo), _to_the_end)


def _positive(name: str, what: str, options: Options, moves: Moves) -> tuple[Vector, list[str]]:
    vector = written(FAMILY, name, options, moves)
    if vector is None:
        raise ValueError(f"{name} cannot be written")
    return vector, [f"round: {what}, {'with' if options.colo else 'without'} COLO"]


def _to_the_end(run: ScriptWriter) -> None:
    """Make two checkpoints, or precopy alone."""
    run.primary_writes(0, 1)
    run.end_precopy()
    for number in range(2 * run.options.colo):
        run.begin_checkpoint()
        run.primary_writes(1, number + 2)
        run.receive_checkpoint()
        run.commit()


def _refused(rule: str, what: str, options: Options, moves: Moves, reason: Reason | None, differs: str) -> tuple[Vector, list[str]]:
    """Return a vector whose last move is refused, for this reason if it is always the same. Where depends on what is looked at first."""
    run = ScriptWriter(options)
    moves(run)
    script = [*run.script, *refused_after(run.script)]
    verdict = Verdict(is_accepted=False, reason=reason.value if reason else "")
    vector = Vector(slug(rule, what), FAMILY, [rule], setup_of(options), verdict, script, _PLAIN[options.colo], differs)
    return vector, [f"round: {what}"]


_KINDS: Final[dict[str, tuple[list[int], int]]] = {"content": ([1], 2), "zeros": ([2], 0)}
"""Pages that are sent, and the content that the primary writes into them before."""


def _put(run: ScriptWriter, kind: str, channel: str) -> None:
    """Put a packet of pages of a kind on a channel, or SYNC."""
    if kind == "SYNC":
        run.peer.put_sync(channel)
        return
    pages, number = _KINDS[kind]
    for page in pages:
        run.primary_writes(page, number)
    run.send(channel, pages)


def _left_open() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the ends of precopy and of a checkpoint's pages before which pages came, and no MULTIFD_FLUSH after them.

    Which channel is read first decides whether the pages are late, or the end is early.
    """
    for colo, kind, channel in ((colo, kind, channel) for colo in (True, False) for kind in _KINDS for channel in _CHANNELS):
        rule = str(Step.ENTER_COLO if colo else Step.COMPLETE)
        what = f"precopy ends after {kind} by {channel} without MULTIFD_FLUSH, {'with' if colo else 'without'} COLO"
        moves = _ends_open(kind, channel)
        yield _refused(rule, what, _options(colo=colo), moves, None, "the last round of precopy has no MULTIFD_FLUSH")
    for kind, channel in ((kind, channel) for kind in _KINDS for channel in _CHANNELS):
        what = f"pages of a checkpoint end after {kind} by {channel} without MULTIFD_FLUSH"
        moves = _checkpoint_ends_open(kind, channel)
        differs = "the last round of a checkpoint has no MULTIFD_FLUSH"
        yield _refused(str(Step.CHECKPOINT_RECEIVED), what, _options(), moves, None, differs)


def _ends_open(kind: str, channel: str) -> Moves:
    def moves(run: ScriptWriter) -> None:
        run.primary_writes(0, 1)
        run.send_rest()
        _put(run, kind, channel)
        run.peer.put_precopy_end()

    return moves


def _checkpoint_ends_open(kind: str, channel: str) -> Moves:
    def moves(run: ScriptWriter) -> None:
        run.primary_writes(0, 1)
        run.end_precopy()
        run.begin_checkpoint()
        _put(run, kind, channel)
        run.peer.put_pages_end()
        run.peer.put_device_state()

    return moves


def _out_of_phase() -> Iterator[tuple[Vector, list[str]]]:
    """Yield packets between checkpoints: no pages may come there, and no SYNC."""
    for checkpoints, kind, channel in ((count, kind, channel) for count in (0, 1) for kind in (*_KINDS, "SYNC") for channel in _CHANNELS):
        when = "after a commit" if checkpoints else "after precopy"
        what = f"{kind} by {channel} between checkpoints {when}"
        moves = _between(checkpoints, kind, channel)
        yield _refused(str(Step.PREPARE), what, _options(), moves, Reason.PACKET_OUT_OF_PHASE, f"{channel} says {kind} between checkpoints")


def _between(checkpoints: int, kind: str, channel: str) -> Moves:
    def moves(run: ScriptWriter) -> None:
        run.primary_writes(0, 1)
        run.end_precopy()
        for _ in range(checkpoints):
            run.begin_checkpoint()
            run.receive_checkpoint()
            run.commit()
        _put(run, kind, channel)

    return moves


_STAGES: Final = {
    "between checkpoints": ColoMessage.CHECKPOINT_REQUEST,
    "in place of VMSTATE_SEND": ColoMessage.VMSTATE_SEND,
    "in place of VMSTATE_SIZE": ColoMessage.VMSTATE_SIZE,
}
"""Where the primary says a COLO message, and which."""


def _messages() -> Iterator[tuple[Vector, list[str]]]:
    """Yield each COLO message at each stage where another one is due."""
    for stage, due in _STAGES.items():
        for message in ColoMessage:
            if message is not due:
                what, differs = f"{message.name} {stage}", f"main says {message.name}, not {due.name}"
                yield _refused(_ORDER, what, _options(), _says(message, stage), Reason.COLO_MESSAGE_UNEXPECTED, differs)


def _says(message: ColoMessage, stage: str) -> Moves:
    def moves(run: ScriptWriter) -> None:
        run.primary_writes(0, 1)
        run.end_precopy()
        said = stream.colo_message(message)
        if stage == "between checkpoints":
            run.peer.put(MAIN_CHANNEL, said)
            return
        run.peer.put_request()
        run.peer.expect(ColoMessage.CHECKPOINT_REPLY)
        if stage == "in place of VMSTATE_SIZE":
            run.peer.put_checkpoint_begin()
            run.end_round()
            said = stream.ram_close() + bytes([SectionType.EOF]) + said
        run.peer.put(MAIN_CHANNEL, said)

    return moves


def _empty_rounds() -> Iterator[tuple[Vector, list[str]]]:
    """Yield rounds in which nothing comes: before pages, after them, and alone in a checkpoint; with multifd and without."""
    for channels in (0, 2):
        for colo in (True, False):
            what = f"empty rounds, {channels} channels"
            name = slug(Step.RELEASE, f"{what}, {'with' if colo else 'without'} COLO")
            yield _positive(name, what, _options(colo=colo, channels=channels), _with_empty_rounds)


def _with_empty_rounds(run: ScriptWriter) -> None:
    for _ in range(3):
        run.end_round()
    run.primary_writes(0, 1)
    run.send(MAIN_CHANNEL, [0, 1])
    for _ in range(3):
        run.end_round()
    run.end_precopy()
    for number in range(3 * run.options.colo):
        run.begin_checkpoint()
        run.end_round()
        # Nothing comes in the second checkpoint.
        if number != 1:
            run.primary_writes(0, number + 2)
            run.send(MAIN_CHANNEL, [0])
        run.end_round()
        run.end_round()
        run.receive_checkpoint()
        run.commit()
