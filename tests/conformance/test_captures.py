"""The shipped captures are what was recorded, and the loader notices when one is not."""

import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from colofd.conformance.captures import Capture, CaptureError, find, load, shipped
from colofd.spec.constants import Compression

SHIPPED = {
    "colo-main-only",
    "colo-mfd2-slow",
    "colo-mfd4-zstd",
    "none-colo-mfd2-none",
    "none-precopy-mfd2-none",
    "precopy-main-only",
    "precopy-mfd2-none",
    "precopy-mfd2-none-rp",
    "precopy-mfd2-none-v10.0",
    "precopy-mfd2-zstd",
    "precopy-mfd4-zlib",
    "qtest-colo-mfd2-none",
    "qtest-colo-mfd4-zlib",
}


def test_thirteen_captures_are_shipped() -> None:
    """Given an installed colofd, then these captures come with it."""
    assert {folder.name for folder in shipped()} == SHIPPED


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_capture_is_what_was_recorded(name: str) -> None:
    """Given a shipped capture, when it is loaded (which verifies every digest), then it says what its name says."""
    capture = load(find(name))
    assert capture.name == name
    assert capture.channels == (0 if "main-only" in name else int(name.partition("mfd")[2][0]))
    assert capture.compression == (method if (method := name.rpartition("-")[2]) in {"zlib", "zstd"} else Compression.NONE)
    assert capture.colo == ("colo" in name)
    assert (capture.machine == "none") == name.startswith("none-")
    assert capture.qemu.startswith("10.0" if "v10.0" in name else "11.1")
    assert set(capture.streams) == {"main", *(f"mfd{channel}" for channel in range(capture.channels))}
    assert (capture.page_size, capture.ram_block) == (4096, "ram0")
    assert capture.ram_bytes in {4 << 20, 8 << 20, 16 << 20}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_capture_has_the_digests_to_compare_with(name: str) -> None:
    """Given a shipped capture, then it has a digest for each checkpoint if it is COLO, else one for the end, and never both."""
    capture = load(find(name))
    assert (capture.final_sha256 is None) == capture.colo
    assert [checkpoint.index for checkpoint in capture.checkpoints] == list(range(len(capture.checkpoints)))
    assert bool(capture.checkpoints) == capture.colo
    if capture.colo:
        last = capture.checkpoints[-1]
        assert last.at == {channel: len(content) for channel, content in capture.streams.items()}
        assert last.replied == len(capture.replies) == 16 + 4 + 12 * last.index


def test_all_captures_together_hold_many_checkpoints() -> None:
    """Given all shipped captures, then they hold this many digests; a changed number is a reviewed change."""
    captures = [load(folder) for folder in shipped()]
    assert sum(len(capture.checkpoints) for capture in captures) == 44
    assert sum(capture.final_sha256 is not None for capture in captures) == 7


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a small capture that a test may damage."""
    return Path(shutil.copytree(find("none-colo-mfd2-none"), tmp_path / "copy"))


def rewrite_meta(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    change(meta)
    (folder / "meta.json").write_text(json.dumps(meta))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_an_undamaged_copy_loads(copy: Path) -> None:
    """Given a copy (the control of the tests below), when it is loaded, then it equals the original but for its name."""
    original, copied = load(find("none-colo-mfd2-none")), load(copy)
    assert isinstance(copied, Capture)
    assert copied.streams == original.streams
    assert copied.events == original.events


@pytest.mark.parametrize("name", ["main.fwd.xz", "main.rev.xz", "mfd0.fwd.xz", "mfd1.fwd.xz", "events.json.xz"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_flipped_bit_of_a_file_is_noticed(copy: Path, name: str, part: float) -> None:
    """Given one flipped bit in a compressed file, when the capture is loaded, then the file is named."""
    path = copy / name
    flip(path, int(part * path.stat().st_size))
    with pytest.raises(CaptureError, match=name):
        load(copy)


def test_another_content_of_the_same_length_is_noticed(copy: Path) -> None:
    """Given a well-formed file with one byte changed, when the capture is loaded, then the digest tells."""
    path = copy / "mfd0.fwd.xz"
    content = bytearray(lzma.decompress(path.read_bytes()))
    content[100] ^= 1
    path.write_bytes(lzma.compress(content))
    with pytest.raises(CaptureError, match=r"mfd0\.fwd\.xz is not what was recorded"):
        load(copy)


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_a_file_cut_short_is_noticed(copy: Path, cut: int) -> None:
    """Given a file cut short, when the capture is loaded, then the file is named."""
    path = copy / "main.fwd.xz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CaptureError, match=r"main\.fwd\.xz is damaged"):
        load(copy)


def test_a_longer_file_is_not_read_to_its_end(copy: Path) -> None:
    """Given a file that unpacks to far more than was recorded, when the capture is loaded, then it is refused."""
    (copy / "main.fwd.xz").write_bytes(lzma.compress(bytes(1 << 24)))
    with pytest.raises(CaptureError, match=r"main\.fwd\.xz is damaged"):
        load(copy)


def test_a_missing_file_is_named(copy: Path) -> None:
    """Given a capture without one of its files, when it is loaded, then the file is named."""
    (copy / "mfd1.fwd.xz").unlink()
    with pytest.raises(CaptureError, match=r"mfd1\.fwd\.xz"):
        load(copy)


def test_a_file_outside_of_the_folder_is_refused(copy: Path) -> None:
    """Given a capture that names a file elsewhere, when it is loaded, then that file is not opened."""

    def change(meta: dict[str, object]) -> None:
        files = meta["files"]
        assert isinstance(files, dict)
        files["../main.fwd.xz"] = files.pop("main.fwd.xz")

    rewrite_meta(copy, change)
    with pytest.raises(CaptureError, match="not a file of this folder"):
        load(copy)


def test_channels_that_do_not_fit_the_parameters_are_refused(copy: Path) -> None:
    """Given a capture of two channels that says three, when it is loaded, then both are named."""

    def change(meta: dict[str, object]) -> None:
        parameters = meta["parameters"]
        assert isinstance(parameters, dict)
        parameters["channels"] = 3

    rewrite_meta(copy, change)
    with pytest.raises(CaptureError, match="mfd2"):
        load(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"block": 3}', '{"block": "ram0"}'])
def test_a_malformed_meta_is_refused(copy: Path, text: str) -> None:
    """Given a meta.json that is not one, when the capture is loaded, then the folder is named."""
    (copy / "meta.json").write_text(text)
    with pytest.raises(CaptureError, match="cannot be read as a capture"):
        load(copy)


def test_events_that_miss_bytes_are_refused(copy: Path) -> None:
    """Given events which account for one byte less than a channel has, when the capture is loaded, then it is refused."""
    path = copy / "events.json.xz"
    events = json.loads(lzma.decompress(path.read_bytes()))
    events[0][3] -= 1
    path.write_bytes(lzma.compress(json.dumps(events).encode()))
    with pytest.raises(CaptureError, match="accounts for other bytes"):
        load(copy)


def test_a_name_that_is_no_capture_lists_those_there_are(tmp_path: Path) -> None:
    """Given a folder without meta.json, when it is looked up, then the error lists what could have been meant."""
    with pytest.raises(CaptureError, match="precopy-mfd2-none"):
        find(str(tmp_path))


@pytest.mark.parametrize("event", [[0.0, "main", "<", 0], [0.0, "mfd0", ">", 0], [0.0, "main", ">", -1]])
def test_events_that_cannot_be_are_refused(copy: Path, event: list[object]) -> None:
    """Given a first event which closes, replies on, or takes back from a channel that never opened, when loaded, then it is refused."""
    path = copy / "events.json.xz"
    events = json.loads(lzma.decompress(path.read_bytes()))
    path.write_bytes(lzma.compress(json.dumps([event, *events]).encode()))
    with pytest.raises(CaptureError, match="before its channel opened"):
        load(copy)
