"""A solver's counter-example, as a state of a finite instance: so that a step can be taken from it by another reading of the rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from colofd.model.finite import Bindings, Instance, Sizes, State, Step
from colofd.model.finite_slices import slice_of
from colofd.model.finite_terms import evaluate
from colofd.model.proof_obligations import Kind, Obligation
from colofd.model.proof_trees import walk
from colofd.model.smtlib import Writer
from colofd.model.solver import RESOURCES
from colofd.spec.both_sides import DeviceState
from colofd.spec.language import Every, Parameter, Some, Sort, Spec, sort_name
from colofd.spec.state import MAIN, ZERO, Channel, Page, Value

_CONSTANTS: Final[dict[Sort, str]] = {Page: "", Channel: MAIN.name, Value: ZERO.name, DeviceState: ""}
"""The unbounded sorts, each with the constant that is its member number 0, if it has one."""

Members = Mapping[str, list[Any]]
"""For each unbounded sort, the solver's names of its members."""


@dataclass(frozen=True)
class CounterModel:
    """A state that satisfies all hypotheses of an obligation and not its goal; `step` is the rule that it is about, if there is one."""

    instance: Instance
    state: State
    bindings: Bindings
    step: Step | None

    def refutes(self, obligation: Obligation) -> bool:
        """Return whether the plain reading agrees: hypotheses hold, the goal does not, and after the step neither does the clause."""
        holds = [evaluate(self.instance.term(each, self.bindings), self.state) for each in (*obligation.hypotheses, obligation.goal)]
        return all(holds[:-1]) and not holds[-1] and not (obligation.kind is Kind.CONSECUTION and self._keeps(obligation))

    def _keeps(self, obligation: Obligation) -> bool:
        clause = self.instance.clauses[obligation.name.partition(" keeps ")[2]]
        return self.step is None or bool(evaluate(clause, self.step.after(self.state)))


def counter_model(spec: Spec, obligation: Obligation) -> CounterModel | None:
    """Return a finite counter-example to an obligation of `spec`, found by Z3, or None if it finds none."""
    import z3  # noqa: PLC0415  # loaded when it is asked for

    question = z3.Solver(ctx=z3.Context())
    question.set("rlimit", RESOURCES)
    question.from_string(Writer(spec).text(obligation))
    if question.check() != z3.sat:
        return None
    model = question.model()
    declared = {str(each.name()): each for each in model.decls()}
    members = _members(model, declared)
    channels, pages, values, devices = (len(members[sort_name(sort)]) for sort in (Channel, Page, Value, DeviceState))
    sizes = Sizes(channels - 1, pages, values, devices)
    instance = Instance(spec, slice_of("whole"), sizes)

    def value(name: str, arguments: list[Any], sort: Sort) -> int:
        if name not in declared:
            return 0
        return _number(str(model.eval(declared[name](*arguments), model_completion=True)), sort, members)

    state = []
    for place in instance.places:
        cell = getattr(spec.state, place.cell)
        keys = zip(cell.key, place.key, strict=True) if place.cell in declared else ()
        arguments = [_argument(sort, member, members, declared[place.cell].domain(number)) for number, (sort, member) in enumerate(keys)]
        state.append(value(place.cell, arguments, cell.to))
    bindings = {each: value(_declared_name(each, declared), [], each.sort) for each in _parameters(spec, obligation)}
    return CounterModel(instance, tuple(state), bindings, _step(instance, obligation, bindings))


def _members(model: Any, declared: Mapping[str, Any]) -> Members:
    """Return the members of each unbounded sort, the named constant first."""
    universes = {str(sort.name()): list(model.get_universe(sort)) for sort in model.sorts()}
    members: dict[str, list[Any]] = {}
    for sort, constant in _CONSTANTS.items():
        universe = universes.get(sort_name(sort), [])
        first = str(model.eval(declared[constant]())) if constant in declared else ""
        is_first = [str(member) == first for member in universe]
        named = [member for member, is_named in zip(universe, is_first, strict=True) if is_named]
        others = [member for member, is_named in zip(universe, is_first, strict=True) if not is_named]
        members[sort_name(sort)] = [*named, *others] or [None]
    return members


def _argument(sort: Sort, member: int, members: Members, domain: Any) -> Any:
    """Return the solver's name of a member of a key's sort; `domain` is the solver's name of that sort."""
    return domain.constructor(member)() if issubclass(sort, Enum) else members[sort_name(sort)][member]


def _number(said: str, sort: Sort, members: Members) -> int:
    if sort is bool:
        return int(said == "True")
    if issubclass(sort, Enum):
        return [f"{sort.__name__}.{member.name}" for member in sort].index(said)
    return [str(member) for member in members[sort_name(sort)]].index(said)


def _parameters(spec: Spec, obligation: Obligation) -> list[Parameter[Any]]:
    """Return what an obligation leaves open: the parameters of its rule, and others that no quantifier binds."""
    own = [rule.parameters for rule in spec.rules if rule.id == obligation.name.partition(" ")[0]]
    nodes = [node for formula in (*obligation.hypotheses, obligation.goal) for node in walk(formula)]
    bound = {node.variable for node in nodes if isinstance(node, Every | Some)}
    free = [node for node in nodes if isinstance(node, Parameter) and node not in bound]
    return list(dict.fromkeys([*(own[0] if own else ()), *free]))


def _declared_name(parameter: Parameter[Any], declared: Mapping[str, Any]) -> str:
    """Return the name that the text has for a parameter: its own, and a number."""
    return next((name for name in declared if name.partition("!")[0] == parameter.name and "!" in name), parameter.name)


def _step(instance: Instance, obligation: Obligation, bindings: Bindings) -> Step | None:
    rule = obligation.name.partition(" ")[0]
    steps = [step for step in instance.steps if step.rule.id == rule]
    return next((step for step in steps if step.arguments == tuple(bindings[each] for each in step.rule.parameters)), None)
