"""Layers: a specification that refines another one, by adding to it and taking nothing away.

A layer has cells of its own. It may add guards to a rule of the base, let the same step write the layer's own cells, and have
rules of its own that write only those. So whatever holds of the base holds of the whole: this is checked when a layer is traced,
and needs no proof.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from colofd.spec.language.cells import State, Update
from colofd.spec.language.expressions import SpecError, traced
from colofd.spec.language.rules import Actor, Clause, Rule, RuleBook, Spec, describe, kept_by, locate

S = TypeVar("S", bound=State)


@dataclass
class Layer(Generic[S]):
    """What is added to `base`; `state` is a subclass of its state."""

    base: Spec
    state: type[S]
    added: RuleBook[S] = field(init=False)
    extended: dict[str, Rule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.added = RuleBook(self.state)

    def rule(self, identifier: str, *, by: Actor, source: str, question: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Return a decorator that traces a rule of the layer's own; SpecError if it writes a cell of the base."""
        trace = self.added.rule(identifier, by=by, source=source, question=question)

        def checked(function: Callable[..., None]) -> Callable[..., None]:
            trace(function)
            self._require_own(self.added.rules[-1].updates, identifier, function)
            return function

        return checked

    def extends(self, identifier: str, *, source: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Return a decorator that traces what is added to a rule of the base.

        The function takes the state, and those parameters of the rule that it needs, by their names.
        """

        def trace(function: Callable[..., None]) -> Callable[..., None]:
            doc = describe(function, identifier, source)
            state = self.state()
            try:
                rule = self._base_rule(identifier)
                own = {parameter.name: parameter for parameter in rule.parameters}
                traced(function, state, *(own[name] for name in list(inspect.signature(function).parameters)[1:]))
                guards, updates = kept_by(state, rule.parameters)
            except SpecError as error:
                raise locate(error, identifier, function) from error
            self._require_own(updates, identifier, function)
            self.extended[rule.id] = dataclasses.replace(
                rule,
                doc=f"{rule.doc}\n\n{doc}",
                source=f"{rule.source}; {source}",
                guards=(*rule.guards, *guards),
                updates=(*rule.updates, *updates),
            )
            return function

        return trace

    def spec(self, initial: Clause, clauses: Iterable[Clause]) -> Spec:
        """Return the whole: the base as extended, the layer's rules and clauses; `initial` speaks of the layer's cells."""
        whole = dataclasses.replace(self.base.initial, formula=self.base.initial.formula & initial.formula)
        rules = [self.extended.get(rule.id, rule) for rule in self.base.rules]
        return Spec(self.state, whole, (*rules, *self.added), (*self.base.clauses, *clauses))

    def _base_rule(self, identifier: str) -> Rule:
        if identifier in self.extended:
            raise SpecError("it is extended twice")
        try:
            return self.base.rule(identifier)
        except KeyError:
            raise SpecError("the base has no such rule") from None

    def _require_own(self, updates: Iterable[Update], identifier: str, function: Callable[..., None]) -> None:
        of_base = {update.cell.name for update in updates if update.cell in self.base.state.cells()}
        if of_base:
            raise locate(SpecError(f"a layer may not write {', '.join(sorted(of_base))}"), identifier, function)
