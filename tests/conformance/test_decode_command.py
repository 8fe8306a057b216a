"""`colofd decode`: what it prints and how it ends."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from colofd.conformance import captures
from colofd.conformance.decode_command import decode
from colofd.conformance.wire_streams import packets, precopy, replies
from colofd.spec.constants import Compression


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(decode, [str(argument) for argument in arguments])


def _lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "channel"
    path.write_bytes(data)
    return path


def test_a_capture_is_decoded_to_its_last_byte() -> None:
    """Given a shipped capture, when it is decoded as JSON, then the lines cover each channel and the summary says so."""
    result = _run("qtest-colo-mfd4-zlib", "--json")
    *lines, last = _lines(result)
    capture = captures.load(captures.find("qtest-colo-mfd4-zlib"))
    sizes = {channel: len(data) for channel, data in {**capture.streams, "main.rev": capture.replies}.items()}
    assert result.exit_code == 0
    assert last["summary"]["ok"] is True
    assert {channel: count["bytes"] for channel, count in last["summary"]["channels"].items()} == sizes
    assert {count["unaccounted_bytes"] for count in last["summary"]["channels"].values()} == {0}
    for channel, size in sizes.items():
        assert sum(line["size"] for line in lines if line["channel"] == channel) == size
    assert all(list(line) == ["channel", "offset", "size", "name", "fields"] for line in lines)


def test_people_get_one_line_for_each_record() -> None:
    """Given a capture, when it is decoded as text, then each record is a line with offset, size, name and fields."""
    result = _run("none-precopy-mfd2-none")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].split() == ["main", "0", "8", "main.header", "magic=0x5145564d", "version=3"]
    assert any(line.split()[3:6] == ["main.section-part", "type=END", "section_id=1"] for line in lines)
    assert any("flags=SYNC pages_alloc=0" in line for line in lines)
    assert lines[-1].startswith("main.rev: 0 items, 0 bytes, 0 bytes not accounted for")


def test_the_first_bad_byte_is_named(tmp_path: Path) -> None:
    """Given a packet with a bad magic, when it is decoded, then the summary tells channel, offset, read and expected; exit 1."""
    data = packets(Compression.NONE)
    path = _file(tmp_path, data[:64] + b"\x99" + data[65:])
    result = _run(path, "--kind", "multifd", "--json")
    summary = _lines(result)[-1]["summary"]
    assert result.exit_code == 1
    assert summary["ok"] is False
    assert summary["channels"] == {"mfd1": {"items": 1, "bytes": 64, "unaccounted_bytes": len(data) - 64}}
    assert summary["error"] == {
        "reason": "packet-magic",
        "channel": "mfd1",
        "offset": 64,
        "read": "magic=0x99223344",
        "expected": "magic == 0x11223344 (wire.packet.magic)",
    }
    assert "packet-magic on mfd1 at byte 64" in result.stderr


@pytest.mark.parametrize("method", Compression)
def test_a_file_is_read_as_its_capabilities_say(tmp_path: Path, method: Compression) -> None:
    """Given one multifd channel in an .xz file, when the right method is named, then it decodes; with another one it is refused."""
    path = _file(tmp_path, lzma.compress(packets(method)))
    right = _run(path, "--kind", "multifd", "--capabilities", f"multifd,multifd-compression={method}")
    other = Compression.ZSTD if method is not Compression.ZSTD else Compression.ZLIB
    wrong = _run(path, "--kind", "multifd", "--capabilities", f"multifd-compression={other}")
    assert right.exit_code == 0, right.stderr
    assert wrong.exit_code == 1


def test_main_channels_and_replies_are_files_too(tmp_path: Path) -> None:
    """Given a main channel and a way back as files, when they are decoded, then they are accepted; with another page size not."""
    assert _run(_file(tmp_path, precopy()), "--kind", "main").exit_code == 0
    assert _run(_file(tmp_path, precopy(rounds=True)), "--kind", "main", "--capabilities", "multifd").exit_code == 0
    assert _run(_file(tmp_path, precopy(rounds=True)), "--kind", "main").exit_code == 1
    assert _run(_file(tmp_path, precopy()), "--kind", "main", "--page-size", "8192").exit_code == 1
    assert _run(_file(tmp_path, replies()), "--kind", "reverse").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-capture"], "no-such-capture is no capture"),
        (["no-such-file", "--kind", "main"], "cannot be read"),
        (["{file}"], "say with --kind what it is"),
        (["{file}", "--kind", "main", "--capabilities", "x-coloo"], "cannot have x-coloo"),
        (["{file}", "--kind", "main", "--capabilities", "multifd-compression=lz4"], "cannot have lz4"),
        (["{file}", "--kind", "main", "--page-size", "5000"], "power of two"),
        (["precopy-main-only", "--page-size", "4096"], "describe a FILE"),
        (["{xz}", "--kind", "main"], "cannot be read"),
    ],
)
def test_what_cannot_be_run_ends_with_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    """Given arguments that make no sense, when they are used, then the message says why and what to do."""
    file = _file(tmp_path, precopy())
    damaged = tmp_path / "damaged.xz"
    damaged.write_bytes(lzma.compress(precopy())[:-9])
    result = _run(*(argument.format(file=file, xz=damaged) for argument in arguments))
    assert said in f"{result.stderr}{result.exception}"
    # A capture that cannot be loaded is reported by the `colofd` command itself.
    assert result.exit_code == 2 or isinstance(result.exception, captures.CaptureError)
