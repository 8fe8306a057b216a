"""The command `colofd send`."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from colofd.conformance.captures import Capture, CaptureError, find, load
from colofd.conformance.outgoing import NotReached, connector, tell_to_take_over
from colofd.conformance.primary import Dialect, Primary, RoundEnd, ZeroPages
from colofd.conformance.primary_schedule import BadSchedule, EndPrecopy, Failover, Move, Rest, check, generated, play, schedule_from
from colofd.conformance.replay_player import Connect, DistantPlayer
from colofd.conformance.subjects import BLOCK, Options
from colofd.spec.constants import TARGET_PAGE_SIZE, Compression, channel_name
from colofd.spec.reasons import Rejected


@dataclass(frozen=True)
class Wanted:
    """How an image is to be sent, and with COLO how the primary goes on."""

    options: Options
    dialect: Dialect
    moves: tuple[Move, ...]
    fail_over: Callable[[bool], None]
    patience: float


@click.command()
@click.argument("uri")
@click.argument("source")
@click.option("--channels", type=click.IntRange(0, 255), default=0, show_default=True, help="Number of multifd channels.")
@click.option("--compression", type=click.Choice([each.value for each in Compression]), default="none", show_default=True)
@click.option("--colo", is_flag=True, help="Be the primary of a COLO pair.")
@click.option("--checkpoints", type=click.IntRange(0), default=3, show_default=True, help="With --colo: how many, of a drawn pattern.")
@click.option("--dirty", type=click.IntRange(0), default=16, show_default=True, help="Pages written before each of them.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the pattern.")
@click.option("--schedule", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON list of moves, in place of a pattern.")
@click.option("--block", default=BLOCK, show_default=True, help="Name of the RAM block.")
@click.option("--machine", default="none", show_default=True, help="Machine type that the stream names.")
@click.option("--device-state", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="FULL sections and EOF. [default: none]")
@click.option("--zero-pages", type=click.Choice([each.value for each in ZeroPages]), default="multifd", show_default=True)
@click.option("--round-end", type=click.Choice([each.value for each in RoundEnd]), default="flush", show_default=True)
@click.option("--enable-colo", is_flag=True, help="With --colo: announce it by ENABLE_COLO and have no return path, as before 11.0.")
@click.option("--qmp", metavar="PATH", help="QMP socket of a QEMU that a move `failover` tells to take over.")
@click.option("--patience", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True, help="Seconds to wait for anything.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def send(uri: str, source: str, patience: float, as_json: bool, **choices: Any) -> None:
    """Send a guest to a destination: the source of a migration, or a COLO primary, that is no QEMU.

    URI is unix:PATH or tcp:HOST:PORT. SOURCE is a capture (a folder, or the name of a shipped one), which is sent as it was recorded, with
    the replies awaited where they were; or a file that holds the RAM of a guest. The other options are for such a file.

    A schedule is a list of objects with "do": write, send, round, sync, rest, end-precopy, checkpoint, end-pages, device-state, cut,
    silence, die, failover; see docs/interop.md. QEMU up to 8.0 needs --round-end section --zero-pages legacy,
    and COLO up to 10.2 --enable-colo.

    Exit codes: 0 all was sent and replied to, 1 the destination did otherwise, 2 it could not be run.

    Example: colofd send unix:/tmp/destination none-colo-mfd2-none
    """
    try:
        connect = connector(uri, patience)
        report = _send(connect, source, choices, patience)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URI") from error
    except (NotReached, BadSchedule) as error:
        click.echo(f"colofd: {error}\nhint: `colofd send --help` says what must be there", err=True)
        sys.exit(2)
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(_text(report)))
    sys.exit(1 if report["ended_by"] else 0)


def _send(connect: Connect, source: str, choices: dict[str, Any], patience: float) -> dict[str, Any]:
    path = Path(source)
    if path.is_file():
        return send_image(connect, path, _wanted(path, choices, patience))
    try:
        return send_capture(connect, load(find(source)), patience)
    except CaptureError as error:
        raise CaptureError(f"{error}\nA file with the RAM of a guest would do, too") from error


def send_capture(connect: Connect, capture: Capture, patience: float) -> dict[str, Any]:
    """Send a capture; return what the source had, and how it went."""
    ended_by = ""
    with DistantPlayer(capture, connect, patience=patience) as player:
        try:
            player.play()
            if not capture.colo:
                player.collect()
        except Rejected as rejected:
            ended_by = str(rejected)
        if not ended_by and not player.is_all_sent:
            ended_by = "it hung up before all was sent"
        if not ended_by and player.replies != capture.replies:
            ended_by = f"it replied {len(player.replies)} bytes, which are not the {len(capture.replies)} recorded ones"
    commits = [each.sha256 for each in capture.checkpoints] or [capture.final_sha256 or ""]
    return {"source": capture.name, "commits": commits, "ended_by": ended_by}


def send_image(connect: Connect, image: Path, wanted: Wanted) -> dict[str, Any]:
    """Send a file with RAM; return digests of what the primary had at each commit, and how it went."""
    primary = Primary(wanted.options, connect, wanted.patience, wanted.dialect)
    try:
        ram, size = image.read_bytes(), wanted.options.page_size
        for page in range(wanted.options.pages):
            primary.ram[page] = ram[page * size : (page + 1) * size]
        sent = play(primary, wanted.moves, wanted.fail_over)
    finally:
        primary.close()
    return {"source": str(image), "pages": dict(primary.normal_pages), **asdict(sent)}


def _wanted(image: Path, choices: dict[str, Any], patience: float) -> Wanted:
    length = image.stat().st_size
    if not length or length % TARGET_PAGE_SIZE:
        raise BadSchedule(f"{image} has {length} bytes: RAM is whole pages of {TARGET_PAGE_SIZE} bytes")
    options = Options(
        pages=length // TARGET_PAGE_SIZE,
        channels=choices["channels"],
        colo=choices["colo"],
        compression=Compression(choices["compression"]),
        block=choices["block"],
    )
    dialect = Dialect(ZeroPages(choices["zero_pages"]), RoundEnd(choices["round_end"]), choices["machine"], choices["enable_colo"])
    if choices["device_state"] is not None:
        dialect = replace(dialect, devices=choices["device_state"].read_bytes())

    moves = _moves(options, choices)
    if choices["qmp"] is None and any(isinstance(move, Failover) for move in moves):
        raise BadSchedule("a move `failover` needs --qmp: somebody must be told")

    def fail_over(yanks: bool) -> None:
        tell_to_take_over(choices["qmp"], patience, yanks=yanks)

    return Wanted(options, dialect, moves, fail_over, patience)


def _moves(options: Options, choices: dict[str, Any]) -> tuple[Move, ...]:
    if choices["schedule"] is not None:
        moves = schedule_from(choices["schedule"].read_bytes())
        check(moves, options.pages, [channel_name(number) for number in range(options.channels)])
        return moves
    if options.colo:
        return generated(options.pages, choices["checkpoints"], choices["dirty"], choices["seed"])
    return (Rest(), EndPrecopy())


def _text(report: dict[str, Any]) -> Iterator[str]:
    yield from (f"commit {index}: {digest}" for index, digest in enumerate(report["commits"]))
    if "pages" in report:
        yield "pages with content: " + ", ".join(f"{name} {count}" for name, count in report["pages"].items())
    yield f"ended by the destination: {report['ended_by']}" if report["ended_by"] else f"{report['source']} was sent"
