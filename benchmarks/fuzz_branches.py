# ruff: noqa: INP001, T201  # a program, not a package
"""Prints which branches of the receiver's parsers `colofd stress --only parsers` reaches, and why it does not reach the others.

python -m pip install coverage
python benchmarks/fuzz_branches.py 100000     (how many inputs; drawn from seed 1)

Ends with 1 if a branch is not reached of which nobody has said why.
"""

import importlib
import sys
from pathlib import Path
from typing import Final

PARSERS: Final = (
    "packet",
    "payload",
    "channel",
    "records",
    "runs",
    "main_channel",
    "commands",
    "configuration",
    "device_state",
    "stream",
    "colo",
)
RECEIVER: Final = Path(__file__).parents[1] / "impl"

LIMIT: Final = "inputs are smaller than the limits: `test_limits`"
WAIT: Final = "nothing is waited for, as all has arrived: `test_patience`"
MOVED: Final = "chance hardly ever moves that record: `wire.ram.block-list-missing`"
FLUSH: Final = "a flush, no parser: `test_checkpoints`, `test_memory`, `colofd stress --only faults`"
FAILOVER: Final = "a failover between two steps: `test_failover`"
WHY: Final = {
    "records: if flags == MULTIFD_FLUSH and not self._reception.block_list_known:": MOVED,
    "main_channel: if len(self._ram_ids) >= self._reception.options.limits.sections:": LIMIT,
    "device_state: if self._tries + len(self._pending) > TRIES:": "more places than come by chance: `test_hostile_peer`",
    "device_state: if not self._pending and size > self._device_limit:": LIMIT,
    "device_state: if self._refusal is not None:": LIMIT,
    "device_state: if size > self._device_limit + self._description_limit + HEAD_SIZE:": LIMIT,
    "device_state: if error.reason is Reason.DEADLINE and self._refusal is not None:": WAIT,
    "stream: if left <= 0:": WAIT,
    "stream: if not count:": WAIT,
    "stream: if seconds < wanted / 2:": WAIT,
    "stream: if wanted != self._timeout:": WAIT,
    "stream: if self._reception.is_ended:": "an end that another thread has brought: `colofd stress --only faults`",
    "colo: if not self._commit(device_state):": FAILOVER,
    "colo: if self._reception.is_failover_asked:": FAILOVER,
    "colo: if store is not None:": "there is no store: `test_kept_commits`",
    "colo: if failure is not None:": "the answer always arrives: `colofd stress --only faults`",
    "colo: if self._reception.phase is Phase.RECEIVED:": FLUSH,
    "colo: if self._reception.phase is Phase.FLUSHING:": FLUSH,
    "colo: if self._reception.phase is not Phase.RECEIVED:": FLUSH,
    "colo: if not count:": FLUSH,
    "colo: if self._memory is not self._cache:": FLUSH,
    "colo: if self._tracer.is_on:": "nobody traces: `colofd check`",
    "colo: if half:": FLUSH,
}
"""Of a branch that is not reached, by the parser and the line where it begins."""


def main(count: int) -> int:
    """Search, and print a row of a table for each parser; return how many branches are neither reached nor explained."""
    watch = importlib.import_module("coverage").Coverage(branch=True, data_file=None, include=[f"{RECEIVER}/*"])
    watch.start()
    search = importlib.import_module("colofd.conformance.fuzz_search").Search(1, print)
    search.run(count)
    watch.stop()
    print(f"{count} inputs, {len(search.reached.states)} states\n")
    print("| parser | branches reached | of | not reached |\n| --- | --- | --- | --- |")
    unexplained = 0
    for name in PARSERS:
        path = RECEIVER / f"{name}.py"
        lines = path.read_text(encoding="utf-8").splitlines()
        analysis = watch._analyze(str(path))  # noqa: SLF001  # there is no other way to single branches
        numbers = analysis.numbers
        missing = {number: f"{name}: {lines[number - 1].strip()}" for number in sorted(analysis.missing_branch_arcs())}
        unexplained += sum(line not in WHY for line in missing.values())
        why = [WHY.get(line, f"line {number} of `{line}`") for number, line in missing.items()]
        print(f"| `{name}` | {numbers.n_executed_branches} | {numbers.n_branches} | {'; '.join(dict.fromkeys(why))} |")
    return unexplained


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1])), 1))
