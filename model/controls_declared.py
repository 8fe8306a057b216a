"""Changed specifications: one declaration says the wrong text, what must fail because of it, and which run shows it.

A change is a negative control of the proof, and may be what a version of QEMU does: `spec/profiles.py` names it then.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from colofd.model.finite import Sizes
from colofd.model.finite_slices import slice_of
from colofd.model.proof_obligations import Kind
from colofd.spec.language import Clause, ClauseBook, Expr, Layer, Rule, RuleBook, Spec
from colofd.spec.protocol import BOTH_SIDES, SPEC

Text = Callable[..., Any]

SMALLEST: Final = Sizes(1, 1, 2)
"""What most runs need: one multifd channel, one page, and one content beside zeros."""


@dataclass(frozen=True)
class Shows:
    """The run that shows what a wrong text does: it breaks a clause (its id), or what all steps promise (a kind of obligation).

    It is searched in the slice `part` with these `sizes`.
    """

    breaks: str | Kind
    part: str = "core"
    sizes: Sizes = SMALLEST


@dataclass(frozen=True)
class Control:
    """A specification with a text changed, under its old id; rarely with more than one, where a mistake has several places.

    `must_fail` are names of obligations that must not be proved any more, and `shows` is the run that tells why; a change without them is
    one that looks like a mistake and is none. `source` says where the mistake was made, or is. `base` is what was changed: the receive
    path, or both sides. `supporting` are clauses that hold as well, and without which a harmless change could not be proved.
    """

    name: str
    doc: str
    source: str
    base: Spec
    rules: tuple[Rule, ...]
    initial: Clause
    must_fail: tuple[str, ...] = ()
    shows: Shows | None = None
    supporting: tuple[Clause, ...] = ()

    @property
    def is_wrong(self) -> bool:
        """Whether it breaks the specification."""
        return self.shows is not None

    @property
    def spec(self) -> Spec:
        """The whole specification with the change."""
        changed = {rule.id: rule for rule in self.rules}
        rules = tuple(changed.get(rule.id, rule) for rule in self.base.rules)
        return Spec(self.base.state, self.initial, rules, (*self.base.clauses, *self.supporting))

    @property
    def changed_spec(self) -> Spec:
        """Only the changed rules: whatever is not proved of `spec` is among what is not proved of these."""
        return Spec(self.base.state, self.initial, self.rules, (*self.base.clauses, *self.supporting))


@dataclass
class Controls:
    """The changes of one module, in their order: `wrong` and `harmless` are decorators of the changed text.

    `base` is the receive path or both sides. Of both sides, a text for a rule of the receive path stands for what the layer adds to it.
    """

    base: Spec
    declared: list[Control] = field(default_factory=list)

    def wrong(self, name: str, identifier: str, *, must_fail: tuple[str, ...], shows: Shows, source: str) -> Callable[[Text], Text]:
        """Return a decorator for the text in place of the rule (or the initial states) `identifier`; its docstring says what is wrong."""

        def declare(text: Text) -> Text:
            slice_of(shows.part)
            self._declare(name, identifier, text, source, must_fail, shows)
            return text

        return declare

    def harmless(self, name: str, identifier: str, *, source: str) -> Callable[[Text], Text]:
        """Return a decorator for a text that looks like a mistake, and breaks nothing."""

        def declare(text: Text) -> Text:
            self._declare(name, identifier, text, source, (), None)
            return text

        return declare

    def also(self, identifier: str) -> Callable[[Text], Text]:
        """Return a decorator for another text of the change that was declared last."""

        def declare(text: Text) -> Text:
            last = self.declared[-1]
            self.declared[-1] = replace(last, rules=(*last.rules, self._rule(identifier, text)))
            return text

        return declare

    def supported(self, identifier: str) -> Callable[[Text], Text]:
        """Return a decorator for a clause that supports the change that was declared last."""

        def declare(text: Text) -> Text:
            book = ClauseBook(self.base.state)
            book.clause(identifier, source="colofd: what makes a change harmless")(text)
            self.declared[-1] = replace(self.declared[-1], supporting=tuple(book))
            return text

        return declare

    def _declare(self, name: str, identifier: str, text: Text, source: str, must_fail: tuple[str, ...], shows: Shows | None) -> None:
        doc = (text.__doc__ or "").strip()
        is_initial = identifier == self.base.initial.id
        rules = () if is_initial else (self._rule(identifier, text),)
        initial = self._initial(text) if is_initial else self.base.initial
        self.declared.append(Control(name, doc, source, self.base, rules, initial, must_fail, shows))

    def _initial(self, text: Callable[[Any], Expr[bool]]) -> Clause:
        book = ClauseBook(self.base.state)
        book.clause(self.base.initial.id, source=f"instead of: {self.base.initial.source}")(text)
        (clause,) = book
        return clause

    def _rule(self, identifier: str, text: Text) -> Rule:
        replaced = self.base.rule(identifier)
        source = f"instead of: {replaced.source}"
        if self.base is SPEC:
            book = RuleBook(self.base.state)
            book.rule(identifier, by=replaced.actor, source=source)(text)
            (rule,) = book
            return rule
        layer = Layer(SPEC, self.base.state)
        if identifier in {rule.id for rule in SPEC.rules}:
            layer.extends(identifier, source="instead of what the layer adds")(text)
            return layer.extended[identifier]
        layer.rule(identifier, by=replaced.actor, source=source)(text)
        (rule,) = layer.added
        return rule

    def __iter__(self) -> Iterator[Control]:
        return iter(self.declared)


def of_receive_path() -> Controls:
    """Return a new list of changes of the receive path."""
    return Controls(SPEC)


def of_both_sides() -> Controls:
    """Return a new list of changes of what the layer with both sides adds."""
    return Controls(BOTH_SIDES)
