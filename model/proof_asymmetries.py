"""Where the main channel and multifd channels differ between two barriers: four asymmetries of QEMU, each with its witness.

What they have in common is proved too: each says what one order never does, and shows that the other one does it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from colofd.model.finite import Instance
from colofd.model.proof_obligations import Answer, Kind, Obligation
from colofd.model.proof_touches import touches
from colofd.model.proof_trees import after
from colofd.model.search_runs import Goal, steps_with
from colofd.spec.constants import Step
from colofd.spec.language import Expr, Literal, Parameter, Rule, Spec
from colofd.spec.state import Page, Phase, World

_S: Final = World(is_read_only=True)
_FALSE: Final[Literal[bool]] = Literal(False, bool)

Saying = Callable[[Rule], Iterator[tuple[Expr[bool], ...]]]
"""Says of a rule where it does something: each tuple is one way, in which all formulas hold."""


@dataclass(frozen=True)
class Asymmetry:
    """Something that the steps `never` do not do, wherever the clauses hold, and that the step `once` does.

    `slice` is where a run to it is searched. Without one there is no run: it is done only where the clauses `dropped` do not hold.
    """

    id: str
    doc: str
    source: str
    does: Saying
    never: tuple[Step, ...]
    once: Step
    slice: str = ""
    dropped: tuple[str, ...] = ()

    def obligations(self, spec: Spec) -> Iterator[Obligation]:
        """Yield that no step of `never` does it, and that a step `once` may."""
        for step in self.never:
            rule = spec.rule(step)
            for number, way in enumerate(self.does(rule), 1):
                yield Obligation(f"{self.id}: {rule.id} never, {number}", Kind.EQUIVALENCE, (*_enabled(spec, rule), *way), _FALSE)
        rule = spec.rule(self.once)
        kept = tuple(clause.formula for clause in spec.clauses if clause.id not in self.dropped)
        for number, way in enumerate(self.does(rule), 1):
            hypotheses = (*kept, *rule.guards, *way)
            yield Obligation(f"{self.id}: {rule.id} may, {number}", Kind.EQUIVALENCE, hypotheses, _FALSE, Answer.SOME)

    def goals(self, instance: Instance) -> list[Goal]:
        """Return the goals that the step `once` does it."""
        rule = instance.spec.rule(self.once)
        return [goal for way in self.does(rule) for goal in steps_with(instance, rule.id, way)]


def _enabled(spec: Spec, rule: Rule) -> tuple[Expr[bool], ...]:
    return (*(clause.formula for clause in spec.clauses), *rule.guards)


def _page_of(rule: Rule) -> Parameter[Page]:
    (page,) = (parameter for parameter in rule.parameters if parameter.sort is Page)
    return page


def _notes_in_colo(rule: Rule) -> Iterator[tuple[Expr[bool], ...]]:
    """In a checkpoint the step brings a page that is not in the receivedmap."""
    yield _S.phase == Phase.RECEIVING, ~_S.received[_page_of(rule)]


def _changes_the_guest(rule: Rule) -> Iterator[tuple[Expr[bool], ...]]:
    """Before COLO begins the step writes a page of the guest while its packet, or its record, is not complete."""
    page: Parameter[Page] = Parameter("any", Page)
    yield _S.colo, _S.phase == Phase.PRECOPY, after(rule, _S.guest[page]) != _S.guest[page]


def _writes_before_arrival(rule: Rule) -> Iterator[tuple[Expr[bool], ...]]:
    """The step writes zeros to a page that has never arrived, and so is zero."""
    for memory in (World.guest, World.cache):
        for path in touches(rule, memory.name):
            yield (*path, ~_S.received[_page_of(rule)])


def _records_two(rule: Rule) -> Iterator[tuple[Expr[bool], ...]]:
    """The step records two pages dirty, so one of them long before its content is here."""
    one: Parameter[Page] = Parameter("one", Page)
    two: Parameter[Page] = Parameter("two", Page)
    yield one != two, *(formula for each in (one, two) for formula in (~_S.peer_dirty[each], after(rule, _S.peer_dirty[each])))


ASYMMETRIES: Final = (
    Asymmetry(
        "orders.main-skips-receivedmap",
        "In COLO QEMU's main channel does not set the receivedmap, multifd does. It comes to the same, as every page has arrived before; "
        "the rules set it always.",
        "migration/ram.c:ram_load_precopy; multifd-nocomp.c:multifd_nocomp_recv",
        _notes_in_colo,
        (Step.MAIN_ZERO_PAGE, Step.MAIN_READ_PART, Step.MAIN_READ_PAGE, Step.ZERO_PAGE, Step.READ_PART, Step.READ_PAGE),
        Step.MAIN_READ_PAGE,
        dropped=("orders.all-arrived",),
    ),
    Asymmetry(
        "orders.main-guest-first",
        "Before COLO the main channel reads a page into the guest and copies it to the cache, multifd the other way round: "
        "after a read that fails, half a page is in the guest, or in the cache. Nothing runs from either.",
        "migration/ram.c:ram_load_precopy; multifd-colo.c:multifd_colo_process_recv",
        _changes_the_guest,
        (Step.READ_PART, Step.READ_PAGE, Step.ZERO_PAGE),
        Step.MAIN_READ_PART,
        slice="main-channel",
    ),
    Asymmetry(
        "orders.main-never-elides",
        "A zero page that arrives for the first time is not written by multifd, and is by the main channel. "
        "With COLO multifd elides in the cache only: in precopy the guest's page is cleared when the packet is mirrored.",
        "migration/ram.c:ram_handle_zero; multifd-zero-page.c:multifd_recv_zero_page_process; multifd-colo.c:multifd_colo_process_recv",
        _writes_before_arrival,
        (Step.ZERO_PAGE,),
        Step.MAIN_ZERO_PAGE,
        slice="main-channel",
    ),
    Asymmetry(
        "orders.multifd-records-packets",
        "The main channel records a page dirty just before its content is read, multifd all pages of a packet before the first of them: "
        "if the packet is not complete, pages are dirty that are in the cache as they were. They are copied, and change nothing.",
        "migration/ram.c:colo_record_bitmap; multifd-colo.c:multifd_colo_prepare_recv",
        _records_two,
        (Step.MAIN_PREPARE,),
        Step.PREPARE,
        slice="core",
    ),
)
"""The four that there are (a page by the main channel, and by multifd; before COLO and in it)."""
