"""The known mistakes beside the proof: each must make its obligations fail, and a run from an initial state must show why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from colofd.model.controls import Control
from colofd.model.controls_runs import Expected, run_to_what_breaks, wrong_controls
from colofd.model.proof import verdicts
from colofd.model.proof_obligations import Kind, obligations
from colofd.model.search_runs import Run
from colofd.model.solver import Solver
from colofd.spec.protocol import SPEC


@dataclass(frozen=True)
class ControlResult:
    """What a known mistake breaks: the obligations that are not proved, and a shortest run, if there is one."""

    control: Control
    expected: Expected
    failed: Sequence[str]
    run: Run | None

    @property
    def is_noticed(self) -> bool:
        """Whether exactly the expected obligations fail, and a run shows the mistake."""
        return set(self.failed) == set(self.expected.must_fail) and self.run is not None


def control_results(solvers: Sequence[Solver]) -> Iterator[ControlResult]:
    """Yield the result of each wrong control, the latch first."""
    for control, expected in wrong_controls():
        yield ControlResult(control, expected, _failed(control, solvers), run_to_what_breaks(control))


def _failed(control: Control, solvers: Sequence[Solver]) -> list[str]:
    # What does not change is proved elsewhere: only the changed rules, and the initial states if they change, are asked about.
    spec = control.changed_spec
    asked = [each for each in obligations(spec) if each.kind is not Kind.INITIATION or control.initial is not SPEC.initial]
    return [verdict.obligation.name for verdict in verdicts(spec, asked, solvers) if not verdict.is_proved]


def controls_json(results: Sequence[ControlResult]) -> list[dict[str, Any]]:
    """Return the results as `colofd prove --controls --json` prints them."""
    return [
        {
            "name": result.control.name,
            "must_fail": list(result.expected.must_fail),
            "failed": list(result.failed),
            "breaks": str(result.expected.breaks),
            "slice": result.expected.part,
            "run_length": None if result.run is None else len(result.run),
            "run": None if result.run is None else list(result.run.names),
        }
        for result in results
    ]


def controls_text(results: Sequence[ControlResult]) -> list[str]:
    """Return the results as lines."""
    noticed = sum(result.is_noticed for result in results)
    lines = [f"{noticed} of {len(results)} known mistakes are noticed"]
    for result in results:
        length = "NO RUN SHOWS IT" if result.run is None else f"{len(result.run)} steps to {result.run.names[-1]}"
        lines += [f"  {result.control.name}: {length}, which breaks {result.expected.breaks}"]
        lines += [f"    fails: {name}" for name in result.failed]
        lines += [f"    DOES NOT FAIL: {name}" for name in result.expected.must_fail if name not in result.failed]
    return lines
