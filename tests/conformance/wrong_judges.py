"""Faults of the model and of the comparison, which are the judge of all others: what must notice each of them."""

from dataclasses import dataclass
from typing import Final

from colofd.conformance.mutants_faults import Edit


@dataclass(frozen=True)
class WrongJudge:
    """A judge that is wrong.

    Attributes:
        name: what it does.
        edit: the change.
        rule: id of the rule or clause that the first violation names, when `colofd check` runs its directed schedules; or
        test: name of the test that fails, where only a wrong receiver shows the difference.
    """

    name: str
    edit: Edit
    rule: str = ""
    test: str = ""


def _judge(name: str, file: str, old: str, new: str, *, rule: str = "", test: str = "") -> WrongJudge:
    return WrongJudge(name, Edit(file, old, new), rule, test)


WRONG_JUDGES: Final = (
    _judge(
        "a step reads what it has just written",
        "model/machine.py",
        """\
        writes = [self._write(update.cell, update.key, update.bound, update.value, environment) for update in rule.updates]
        for cells, key, value in writes:
            cells[key] = value
""",
        """\
        for update in reversed(rule.updates):
            cells, key, value = self._write(update.cell, update.key, update.bound, update.value, environment)
            cells[key] = value
""",
        rule="mirror.dirty-covers",
    ),
    _judge(
        "the model leaves one page out of a flush",
        "model/trace.py",
        """\
            case Step.FLUSH_PAGE:
                self._pages(event, event.pages, "guest")
""",
        """\
            case Step.FLUSH_PAGE:
                self.machine.fire(event.step, pages=event.pages[1:])
""",
        rule="mirror.dirty-covers",
    ),
    _judge(
        "an arrived page does not count as received",
        "spec/rules/receive.py",
        "    s.received[page] = True\n",
        "",
        rule="receive.untouched-buffer-zero",
    ),
    _judge(
        "the own dirty log is not joined",
        "spec/rules/phases.py",
        "    s.peer_dirty[:] = lambda q: s.peer_dirty[q] | s.own_dirty[q]\n",
        "",
        rule="mirror.dirty-covers",
    ),
    _judge(
        "a replayed flush leaves one page out",
        "model/receiver.py",
        "self.machine.fire(Step.FLUSH_PAGE, pages=dirty)",
        "self.machine.fire(Step.FLUSH_PAGE, pages=dirty[1:])",
        test="tests/conformance/test_replay_shipped.py::test_a_shipped_capture_replays[colo-mfd2-slow]",
    ),
    _judge(
        "digests are not compared",
        "model/trace.py",
        "        if list(event.digests) != expected:\n",
        "        if False:\n",
        test="tests/conformance/test_lockstep.py::test_a_digest_of_something_else_is_refused",
    ),
    _judge(
        "guards are not asked",
        "model/machine.py",
        "            if not np.all(holds):\n",
        "            if False:\n",
        test="tests/conformance/test_lockstep.py::test_a_step_that_is_not_allowed_is_refused",
    ),
    _judge(
        "guest RAM is not compared",
        "conformance/comparison.py",
        'found.append(_page_difference(machine, "guest", "isolation.guest", seen.guest))',
        "pass",
        test="tests/conformance/test_lockstep.py::test_memory_that_changes_between_events_is_noticed[guest]",
    ),
)
