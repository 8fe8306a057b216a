"""The command `colofd mutants`."""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.mutants_matrix import Matrix, known_ids, matrix
from colofd.conformance.mutants_report import text_lines, write_page
from colofd.conformance.mutants_tree import DoesNotFit
from colofd.conformance.unknown_names import UnknownName


@click.command()
@click.option(
    "--only", "only", metavar="ID", help="Only the fault of this id, or those whose ids begin with it; a rule's id for all its mutants."
)
@click.option(
    "--page", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write a page (.md), and all of it beside it (.json)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def mutants(only: str | None, page: Path | None, as_json: bool) -> None:
    """Measure the suite: which of its cases show which faults.

    A fault is a receiver that is wrong: the built-in one with a source changed, as QEMU was wrong once, or was found to be; or the model
    with one rule of the specification changed in one place. Each is put to the cases of `colofd check`: schedules, wire cases, and further
    ones; a changed text is put to the runs of the schedules, to transition tours and to a few shortest runs. What nothing shows is
    equivalent, which two solvers prove, or has survived.

    All of it takes about ten minutes on two cores.

    Exit codes: 0 every fault is shown, or proved to be none; 1 some have survived; 2 it could not be measured.

    Examples: colofd mutants --only latch.decided-again; colofd mutants --only receive.prepare --json
    """
    wanted = [each for each in known_ids() if only is None or each == only or each.startswith((f"{only}.", f"{only}:"))]
    if only is not None and not wanted:
        raise UnknownName("fault", only, known_ids())
    try:
        found = matrix(wanted, _show_progress)
    except DoesNotFit as misfit:
        hint = "the faults are edits of the sources as they were shipped: write the edit anew, in conformance/mutants_*.py"
        raise Diagnostic("source-changed", "a fault does not fit the source", str(misfit), hint) from misfit
    except RuntimeError as error:
        hint = "`colofd check impl` says more; on a loaded machine, try again"
        raise Diagnostic("control-failed", "nothing can be said of faults", str(error), hint) from error
    finally:
        _show_progress("")
    if page is not None:
        write_page(page, found)
    click.echo(msgspec.json.encode(as_contract(found)) if as_json else "\n".join(text_lines(found, is_all=only is None)))
    sys.exit(1 if any(row.has_survived for row in found.rows) else 0)


def as_contract(found: Matrix) -> dict[str, Any]:
    """Return what `--json` prints: counts, and all faults."""
    rows = found.rows
    return {
        "total": len(rows),
        "killed": sum(bool(row.killed_by) for row in rows),
        "equivalent": sum(bool(row.equivalent) for row in rows),
        "survived": sum(row.has_survived for row in rows),
        "faults": msgspec.to_builtins(rows),
    }


def _show_progress(what: str) -> None:
    """Show what is going on in one line, where somebody watches."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{what}", nl=False, err=True)
