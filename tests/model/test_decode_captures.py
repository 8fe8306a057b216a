"""Every byte of every shipped capture, in both directions, is decoded exactly once."""

from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Final

import pytest

from colofd.conformance import captures
from colofd.conformance.captures import Capture
from colofd.model.decode import Context, Item, blocks_of, decode_main, decode_multifd, decode_reverse
from colofd.spec.constants import ColoMessage

NAMES = [folder.name for folder in captures.shipped()]

PINNED: Final = {
    # blocks, PART and END sections, flushes, pages and zero pages on main, device sections, checkpoints, packets on each channel
    "colo-main-only": (6, 9, 0, 2727, 4017, 180, 5, ()),
    "colo-mfd2-slow": (6, 8, 15, 0, 0, 210, 6, (25, 32)),
    "colo-mfd4-zstd": (6, 9, 17, 0, 0, 210, 6, (29, 35, 28, 37)),
    "none-colo-mfd2-none": (1, 7, 8, 0, 0, 12, 5, (12, 12)),
    "none-precopy-mfd2-none": (1, 2, 3, 0, 0, 2, 0, (7, 7)),
    "precopy-main-only": (6, 5, 0, 605, 3666, 30, 0, ()),
    "precopy-mfd2-none": (6, 3, 5, 0, 0, 30, 0, (26, 22)),
    "precopy-mfd2-none-rp": (6, 4, 7, 0, 0, 30, 0, (23, 30)),
    "precopy-mfd2-none-v10.0": (6, 2, 4, 0, 0, 30, 0, (27, 20)),
    "precopy-mfd2-zstd": (6, 3, 6, 0, 0, 30, 0, (27, 24)),
    "precopy-mfd4-zlib": (6, 3, 4, 0, 0, 30, 0, (9, 12, 26, 8)),
    "qtest-colo-mfd2-none": (6, 10, 19, 0, 0, 270, 8, (30, 29)),
    "qtest-colo-mfd4-zlib": (6, 10, 19, 0, 0, 270, 8, (26, 26, 23, 24)),
}


@cache
def _capture(name: str) -> Capture:
    return captures.load(captures.find(name))


@cache
def _items(name: str) -> dict[str, list[Item]]:
    capture = _capture(name)
    context = Context(capture.page_size, capture.channels, capture.compression, capture.capabilities, colo=capture.colo)
    main = capture.streams["main"]
    context = replace(context, blocks=dict(blocks_of(main, context)))
    items = {"main": list(decode_main(main, context)), "main.rev": list(decode_reverse(capture.replies))}
    return items | {channel: list(decode_multifd(data, context)) for channel, data in capture.streams.items() if channel != "main"}


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_is_in_exactly_one_item(name: str) -> None:
    """Given a capture, when each channel is decoded, then the items follow each other from the first byte to the last."""
    capture = _capture(name)
    for channel, items in _items(name).items():
        position = 0
        for item in items:
            assert (item.channel, item.offset) == (channel, position), item
            assert item.size > 0, item
            position += item.size
        assert position == len({**capture.streams, "main.rev": capture.replies}[channel]), channel


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_items_is_pinned(name: str) -> None:
    """Given a capture, when its items are counted by name, then the numbers are those that were seen first."""
    counted = {channel: Counter(item.name for item in items) for channel, items in _items(name).items()}
    main = counted["main"]
    packets = tuple(counted[channel]["multifd.packet"] for channel in sorted(counted) if channel.startswith("mfd"))
    checkpoints = main["colo.message"] // 3
    assert (
        main["ram.block"],
        main["main.section-part"],
        main["ram.multifd-flush"],
        main["ram.page"],
        main["ram.zero"],
        main["main.device-section"],
        checkpoints,
        packets,
    ) == PINNED[name]
    assert main["ram.end-of-section"] == main["main.section-footer"] == main["main.section-part"] + 1
    assert main["main.end"] == 1 + 2 * checkpoints


@pytest.mark.parametrize("name", [name for name in NAMES if "colo" in name])
def test_checkpoints_end_where_the_recorder_saw_them(name: str) -> None:
    """Given a COLO capture, when the device states are laid out, then checkpoint N ends where `at` says that it did."""
    capture = _capture(name)
    items = _items(name)["main"]
    requests = [item.offset for item in items if item.name == "colo.message" and item.fields["message"] == ColoMessage.CHECKPOINT_REQUEST]
    ends = [*requests, len(capture.streams["main"])]
    recorded = [checkpoint.at["main"] for checkpoint in capture.checkpoints]
    assert recorded == ends[: len(recorded)]


@pytest.mark.parametrize("name", NAMES)
def test_pages_are_where_the_item_says(name: str) -> None:
    """Given the items of a capture, when payloads are added to the fields, then they fill the item up to its end."""
    for items in _items(name).values():
        for item in items:
            offset, size = item.fields.get("payload_offset"), item.fields.get("payload_size")
            if isinstance(offset, int) and isinstance(size, int):
                tail = 5 if item.name == "main.device-section" else 0
                assert item.offset < offset
                assert offset + size + tail == item.offset + item.size


def test_blocks_come_in_the_order_of_the_stream() -> None:
    """Given a capture of machine pc, when its blocks are listed, then names, lengths and order are the stream's."""
    capture = _capture("precopy-mfd2-none")
    assert blocks_of(capture.streams["main"], Context(channels=2)) == (
        ("ram0", 16 << 20),
        ("/rom@etc/acpi/tables", 2 << 16),
        ("pc.rom", 2 << 16),
        ("pc.bios", 1 << 16),
        ("/rom@etc/table-loader", 1 << 12),
        ("/rom@etc/acpi/rsdp", 1 << 12),
    )
