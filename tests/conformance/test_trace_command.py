"""`colofd trace`: a run of the receiver is accepted, a changed one is refused there, and what is no trace has its message."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from colofd.conformance import command, replay_impl
from colofd.conformance.captures import find, load
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.trace_check import check_trace
from colofd.conformance.trace_file import FORMAT, Header, TraceWriter, read_trace, schema, writer_for
from colofd.impl import Event
from colofd.model.trace import Sent
from colofd.spec.constants import Step
from colofd.spec.protocol import BOTH_SIDES

Lines = list[dict[str, Any]]
CAPTURE: Final = "none-colo-mfd2-none"


@pytest.fixture(scope="module")
def recorded() -> list[bytes]:
    """Return the trace of the built-in receiver on a recording, line by line."""
    capture = load(find(CAPTURE))
    file = io.BytesIO()
    with writer_for(capture, file) as writer:
        replay_impl.read(capture, writer.note)
    return file.getvalue().splitlines(keepends=True)


def run(lines: list[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["colofd", "trace", "-", *options])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"".join(lines))))
    with pytest.raises(SystemExit) as ended:
        command.main()
    shown = capsys.readouterr()
    return int(str(ended.value.code)), shown.out, shown.err


def changed(recorded: list[bytes], change: Callable[[Lines], None]) -> list[bytes]:
    """Return a trace with its lines changed; its last line counts its events."""
    lines = [json.loads(line) for line in recorded[:-1]]
    change(lines)
    return [json.dumps(line).encode() + b"\n" for line in [*lines, {"end": sum("step" in line for line in lines)}]]


def places(lines: Lines, step: Step) -> list[int]:
    return [at for at, line in enumerate(lines) if line.get("step") == step]


def test_a_run_of_the_receiver_is_accepted(
    recorded: list[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given the events of the built-in receiver on a recording, when they are checked, then all are accepted."""
    code, out, err = run(recorded, monkeypatch, capsys, "--json")
    assert out, err
    report = json.loads(out)
    assert (code, report["accepted"], report["refused_at"], report["failing"]) == (0, report["events"], None, None)
    assert report["events"] == sum(b'"step"' in line for line in recorded) > 50


def drop_release(lines: Lines) -> None:
    del lines[places(lines, Step.RELEASE)[0]]


def double_mirror(lines: Lines) -> None:
    at = places(lines, Step.MIRROR)[0]
    lines.insert(at, lines[at])


def wrong_memory(lines: Lines) -> None:
    lines[places(lines, Step.MIRROR)[0]]["digests"][0] = "0123456789abcdef"


def commit_early(lines: Lines) -> None:
    lines[places(lines, Step.FLUSH_BEGIN)[0]]["step"] = "checkpoint.commit"


@pytest.mark.parametrize(
    ("change", "failing", "nearest"),
    [
        (drop_release, "send.zero-page/2", "barrier.release"),
        (double_mirror, "receive.mirror/3", "receive.packet-done"),
        (wrong_memory, "receive.mirror/effect", "receive.mirror"),
        (commit_early, "checkpoint.commit/1", "checkpoint.flush-begin"),
    ],
)
def test_a_refusal_is_explained(
    change: Callable[[Lines], None],
    failing: str,
    nearest: str,
    recorded: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Given a run with one thing changed, when it is checked, then the first event that cannot be is named, and why."""
    code, out, _ = run(changed(recorded, change), monkeypatch, capsys, "--json")
    report = json.loads(out)
    assert code == 1
    assert report["failing"]["id"] == failing
    assert report["nearest"]["step"] == nearest
    assert nearest in {each["rule"] for each in report["enabled"]}
    assert report["accepted"] == report["refused_at"] < report["events"]


def cache_released_under_threads(lines: Lines) -> None:
    (at,) = places(lines, Step.RELEASE_CACHE)
    lines.insert(min(places(lines, Step.EXIT)), lines.pop(at))


@pytest.mark.parametrize(
    ("change", "against", "expected"),
    [
        (lambda _lines: None, "qemu-10.0", 0),
        (cache_released_under_threads, "strict", 1),
        (cache_released_under_threads, "qemu-10.0", 0),
        (cache_released_under_threads, "qemu-11.1", 1),
    ],
    ids=["as specified", "by the specification", "by a version that does it", "by one that does not"],
)
def test_a_deviation_is_allowed_where_it_is_known_and_need_not_show(
    change: Callable[[Lines], None],
    against: str,
    expected: int,
    recorded: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Given a run with a deviation or none, when it is put to a profile, then it is refused only if the profile does not know the one."""
    code, shown, _ = run(changed(recorded, change), monkeypatch, capsys, "--against", against)
    assert code == expected, shown


def test_the_nearest_event_is_accepted_in_its_place(recorded: list[bytes]) -> None:
    """Given a refused run, when the nearest event stands in place of the refused one, then the run is accepted up to there at least."""
    lines = changed(recorded, wrong_memory)
    report = check_trace(read_trace(lines), BOTH_SIDES)
    assert report.refused_at is not None
    at = [place for place, line in enumerate(lines) if b'"step"' in line][report.refused_at]
    lines[at] = msgspec.json.encode(report.nearest) + b"\n"
    assert check_trace(read_trace(lines), BOTH_SIDES).refused_at is None


@pytest.mark.parametrize(
    ("cut", "code"),
    [
        (lambda _lines: [], "trace-empty"),
        (lambda lines: [line for line in lines if b'"step"' not in line and b'"end"' not in line] + [b'{"end":0}\n'], "trace-empty"),
        (lambda lines: lines[:-1], "trace-cut"),
        (lambda lines: [*lines[:30], lines[30][:-9]], "trace-cut"),
        (lambda lines: [*lines[:40], *lines[41:]], "trace-cut"),
        (lambda lines: [lines[0].replace(FORMAT.encode(), b"colofd-trace/9"), *lines[1:]], "trace-format"),
        (lambda lines: lines[1:], "trace-header"),
        (
            lambda lines: [lines[0].replace(b'"channels":2', b'"channels":200').replace(b'"pages":', b'"pages":9999999'), *lines[1:]],
            "trace-header",
        ),
        (lambda lines: [lines[0], b"[]\n", *lines[1:]], "trace-line"),
        (lambda lines: [lines[0], b'{"step":"receive.nothing"}\n', *lines[1:]], "trace-line"),
        (lambda lines: [*lines, lines[-2]], "trace-line"),
        (lambda lines: [lines[0], b'{"sent":"mfd7"}\n', *lines[1:]], "trace-sent"),
        (lambda lines: [lines[0], b'{"wrote":[0],"digests":["0123456789abcdef"]}\n', *lines[1:]], "trace-guest"),
    ],
)
def test_what_is_no_whole_trace_has_its_own_message(
    cut: Callable[[list[bytes]], list[bytes]],
    code: str,
    recorded: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Given something that is no whole trace, when it is checked, then nothing is said of the run, and the exit code is 2."""
    ended, out, shown = run(cut(recorded), monkeypatch, capsys)
    assert (ended, out) == (2, "")
    assert shown.startswith(f"colofd: {code}: ")
    assert "\ncause: " in shown
    assert "\nhint: " in shown


def test_the_published_schema_is_that_of_the_code() -> None:
    """Given the kinds of lines, when their JSON Schema is generated, then it is the published one."""
    published = Path(__file__).parents[2] / "docs" / "trace-file.schema.json"
    assert json.loads(published.read_text()) == json.loads(json.dumps(schema()))


def test_a_writer_that_fails_leaves_a_cut_trace() -> None:
    """Given a receiver that raises, when its trace is read, then it is cut: nobody takes it for a whole run."""
    file = io.BytesIO()
    sent = [("mfd0", Sent((0,), (bytes(4096),), ()))]

    def run_and_fail() -> None:
        with TraceWriter(file, Header(FORMAT, 4, 1, colo=True), sent) as writer:
            writer.note(Event(Step.START))
            raise RuntimeError("a receiver that fails")

    with pytest.raises(RuntimeError):
        run_and_fail()
    with pytest.raises(Diagnostic, match="trace-cut"):
        read_trace(file.getvalue().splitlines(keepends=True))
