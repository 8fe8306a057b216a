"""The known mistakes beside the proof: each must make its obligations fail, and a run from an initial state must show why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from colofd.conformance.run_picture import picture
from colofd.model.controls import WRONG, control
from colofd.model.controls_declared import Control, Shows
from colofd.model.controls_runs import instance_of, run_of, unproved
from colofd.model.processes import in_processes
from colofd.model.solver import Solver, SolverName, solver


@dataclass(frozen=True)
class ControlResult:
    """What a known mistake breaks: the obligations that are not proved, and a shortest run with its picture, if there is one."""

    name: str
    failed: Sequence[str]
    run: Sequence[str] | None
    picture: Sequence[str]

    @property
    def control(self) -> Control:
        """The mistake itself."""
        return control(self.name)

    @property
    def shows(self) -> Shows:
        """Which run it must have."""
        shows = self.control.shows
        if shows is None:
            raise ValueError(f"{self.name} breaks nothing")
        return shows

    @property
    def missing(self) -> list[str]:
        """The obligations that must fail and do not."""
        return [name for name in self.control.must_fail if name not in self.failed]

    @property
    def is_noticed(self) -> bool:
        """Whether what must fail does, and a run shows the mistake."""
        return not self.missing and self.run is not None


def control_results(solvers: Sequence[Solver]) -> Iterator[ControlResult]:
    """Yield the result of each wrong control, the latch first; several processes work on them."""
    names = tuple(each.name for each in solvers)
    return in_processes(_result, [(each.name, names) for each in WRONG])


def _result(task: tuple[str, Sequence[SolverName]]) -> ControlResult:
    name, solvers = task
    wrong = control(name)
    failed = [verdict.obligation.name for verdict in unproved(wrong, [solver(each) for each in solvers])]
    run = run_of(wrong)
    if run is None or wrong.shows is None:
        return ControlResult(name, failed, None, ())
    return ControlResult(name, failed, run.names, picture(instance_of(wrong, wrong.shows), run))


def controls_json(results: Sequence[ControlResult]) -> list[dict[str, Any]]:
    """Return the results as `colofd prove --controls --json` prints them."""
    return [
        {
            "name": result.name,
            "doc": result.control.doc,
            "source": result.control.source,
            "must_fail": list(result.control.must_fail),
            "failed": list(result.failed),
            "breaks": str(result.shows.breaks),
            "slice": result.shows.part,
            "run_length": None if result.run is None else len(result.run),
            "run": None if result.run is None else list(result.run),
            "picture": list(result.picture),
        }
        for result in results
    ]


def controls_text(results: Sequence[ControlResult]) -> list[str]:
    """Return the results as lines."""
    noticed = sum(result.is_noticed for result in results)
    lines = [f"{noticed} of {len(results)} known mistakes are noticed"]
    for result in results:
        length = "NO RUN SHOWS IT" if result.run is None else f"{len(result.run)} steps to {result.run[-1]}"
        lines += [f"  {result.name}: {length}, which breaks {result.shows.breaks}"]
        lines += [f"    fails: {name}" for name in result.failed]
        lines += [f"    DOES NOT FAIL: {name}" for name in result.missing]
    return lines
