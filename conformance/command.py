"""The command line: `colofd`.

Exit codes of all commands: 0 it holds, 1 something was found, 2 it could not be run.
"""

import importlib
import sys
import traceback
from typing import Final

import click

from colofd.conformance.captures import CaptureError
from colofd.spec.reasons import Rejected

COMMANDS: Final = (
    "bench",
    "check",
    "decode",
    "explain",
    "explore",
    "fill",
    "mutants",
    "profiles",
    "prove",
    "qemu",
    "receive",
    "replay",
    "resume",
    "send",
    "standby",
    "store",
    "stress",
    "trace",
)
"""Each one is the function of this name in the module `colofd.conformance.NAME_command`, imported when it is asked for."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used: a solver takes longer to import than most commands to run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None if there is none of this name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"colofd.conformance.{cmd_name}_command")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="colofd")
def colofd() -> None:
    """Reference for the receive path of QEMU's multifd and COLO.

    Exit codes: 0 it holds, 1 something was found, 2 it could not be run.
    """


def main() -> None:
    """Run the command line; an input that a command did not expect to be bad, and a defect of ours, end with a message and exit code 2."""
    try:
        sys.exit(colofd.main(prog_name="colofd", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        # Not 1, which says that something was found.
        sys.exit(130)
    except Rejected as rejected:
        _fail(f"the input was refused before anything could be compared: {rejected}", "`colofd decode` shows the bytes up to there")
    except CaptureError as error:
        _fail(str(error), "`colofd replay --help` says what a capture is")
    except OSError as error:
        _fail(str(error), "check that the path exists and can be read")
    except Exception:  # noqa: BLE001  # whatever it is, it must not end with 1, which says that something was found
        traceback.print_exc()
        _fail("this is a defect of colofd: nothing was found out", "report the lines above, with the command and its input")


def _fail(what: str, hint: str) -> None:
    click.echo(f"colofd: {what}\nhint: {hint}", err=True)
    sys.exit(2)
