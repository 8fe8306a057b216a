"""Vectors of set-ups: numbers of channels, page sizes and RAM blocks, full packets, and the order in which channels connect."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Final

from colofd.conformance import stream
from colofd.conformance.subjects import Options
from colofd.conformance.vector_format import Act, Await, Connect, Send, Vector, Verdict, pieces_of, slug
from colofd.conformance.vector_script import Schedule, ScriptWriter, reordered, written
from colofd.spec.constants import MAIN_CHANNEL, Compression, Step, channel_name, pages_per_packet
from colofd.spec.reasons import Reason

FAMILY: Final = "set-up"
_CHANNEL_COUNTS: Final = (0, 1, 2, 4, 8)
_PAGE_SIZES: Final = (4096, 8192, 16384, 65536)
_BLOCK_COUNTS: Final = (1, 2, 3)


def setup_vectors() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the vectors with what each covers."""
    for options in _set_ups():
        shape = f"{options.channels} channels, {options.compression}, {options.blocks} blocks of {options.page_size}-byte pages"
        name = f"{shape}, {'with' if options.colo else 'without'} COLO"
        yield from _yielded(slug(Step.COMMIT if options.colo else Step.COMPLETE, name), options, _rounds, f"set-up: {name}")
    yield from _full_packets()
    yield from _orders()
    yield from _strangers()


def _set_ups() -> Iterator[Options]:
    """Yield each number of channels with each compression, and each size of pages and number of blocks with both kinds of channels."""
    for colo in (True, False):
        for channels in _CHANNEL_COUNTS:
            for method in Compression if channels else (Compression.NONE,):
                yield Options(channels=channels, compression=method, colo=colo)
        for page_size in _PAGE_SIZES[1:]:
            for channels, method in ((0, Compression.NONE), *((2, method) for method in Compression)):
                yield Options(page_size=page_size, channels=channels, compression=method, colo=colo)
        for blocks in _BLOCK_COUNTS[1:]:
            for channels, method in ((0, Compression.NONE), *((2, method) for method in Compression)):
                yield Options(blocks=blocks, channels=channels, compression=method, colo=colo)


def _yielded(name: str, options: Options, schedule: Schedule, covers: str, rules: Sequence[str] = ()) -> Iterator[tuple[Vector, list[str]]]:
    vector = written(FAMILY, name, options, schedule, rules)
    if vector is not None:
        yield vector, [covers]


def _rounds(run: ScriptWriter) -> None:
    """Send pages by every channel, before COLO and in two checkpoints; some turn zero."""
    channels = [*run.peer.channels, MAIN_CHANNEL]
    for page in range(run.options.pages):
        run.primary_writes(page, page % 4)
    for number, channel in enumerate(channels):
        run.send(channel, [page for page in run.peer.sendable() if page % len(channels) == number])
    run.end_precopy()
    for checkpoint in range(2 * run.options.colo):
        run.begin_checkpoint()
        for page in range(checkpoint, run.options.pages, 2):
            run.primary_writes(page, (page + checkpoint) % 4)
        for number, channel in enumerate(reversed(channels)):
            run.send(channel, [page for page in run.peer.sendable() if page % len(channels) == number])
        run.receive_checkpoint()
        run.commit()


def _full_packets() -> Iterator[tuple[Vector, list[str]]]:
    """Yield packets with as many pages as fit, one less, and one, with content and without; and the first and last pages of a block."""
    room = pages_per_packet(4096)
    counts = [(1, 0), (0, 1), (room - 1, 0), (0, room - 1), (room, 0), (0, room), (1, room - 1), (room - 1, 1), (room // 2, room // 2)]
    for method in Compression:
        for normal, zero in counts if method is Compression.NONE else counts[4:7:2]:
            for colo in (True, False):
                what = f"packet of {normal} normal and {zero} zero pages, {method}, {'checkpoint' if colo else 'precopy'}"
                options = Options(pages=room + 1, channels=1, compression=method, colo=colo)
                rule = Step.READ_PAGE if normal else Step.ZERO_PAGE
                yield from _yielded(slug(rule, what), options, _packet(normal, zero), f"packet: {what}", [str(Step.PREPARE)])
    orders = {"descending": list(range(room - 1, -1, -1)), "every other one": [*range(0, room, 2), *range(1, room, 2)], "ends": [room, 0]}
    for name, pages in orders.items():
        what = f"pages of a packet, {name}"
        options = Options(pages=room + 1, channels=1)
        yield from _yielded(slug(Step.READ_PAGE, what), options, _in_order(pages), f"packet: {what}", [str(Step.PREPARE)])


def _packet(normal: int, zero: int) -> Schedule:
    def schedule(run: ScriptWriter) -> None:
        if run.options.colo:
            for page in range(normal, normal + zero):
                run.primary_writes(page, 3)
            run.end_precopy()
            run.begin_checkpoint()
        for page in range(normal + zero):
            run.primary_writes(page, page % 3 + 1 if page < normal else 0)
        run.send("mfd0", list(range(normal + zero)))
        if not run.options.colo:
            run.end_precopy()
            return
        run.receive_checkpoint()
        run.commit()

    return schedule


def _in_order(pages: Sequence[int]) -> Schedule:
    def schedule(run: ScriptWriter) -> None:
        for page in pages:
            run.primary_writes(page, page % 3 + 1)
        run.send("mfd0", pages)
        run.end_precopy()

    return schedule


def _orders() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the orders in which the channels of a migration may connect and say who they are."""
    options = Options(colo=False)
    plain = written(FAMILY, "plain", options, _rounds)
    if plain is None:
        raise ValueError("a schedule without COLO can be written")
    names = [MAIN_CHANNEL, *(channel_name(number) for number in range(options.channels))]
    for order in permutations(names):
        what = f"channels connect as {' '.join(order)}"
        script = reordered(plain.script, order)
        yield (
            Vector(slug(Step.START, what), FAMILY, [str(Step.START), *plain.rules], plain.setup, plain.verdict, script),
            [f"connect: {what}"],
        )


def _strangers() -> Iterator[tuple[Vector, list[str]]]:
    """Yield connections that are one too many: a second main channel, and a second multifd channel of one number."""
    options = Options(colo=False)
    plain = written(FAMILY, "plain", options, _rounds)
    if plain is None:
        raise ValueError("a schedule without COLO can be written")
    twin = slug(Step.START, "channels connect as main mfd0 mfd1")
    openings = {"main": stream.stream_header(options.machine), "mfd0": stream.hello(0)}
    for name, opening in openings.items():
        script: list[Act] = []
        for first, words in openings.items():
            script += [Connect(first), Send(first, pieces_of(words))]
        script += [Connect("again"), Send("again", pieces_of(opening)), Await("refused")]
        verdict = Verdict(is_accepted=False, reason=Reason.CHANNEL_REPEATED)
        what = f"{name} connects twice"
        rules = [str(Step.START)]
        yield Vector(slug(Step.START, what), FAMILY, rules, plain.setup, verdict, script, twin, what), [f"connect: {what}"]
