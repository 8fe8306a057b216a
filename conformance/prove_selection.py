"""Which obligations are asked: all, or those that the command line names."""

from collections.abc import Sequence

from colofd.conformance.unknown_names import UnknownName
from colofd.model.proof_obligations import AnyObligation


def selected(asked: Sequence[AnyObligation], wanted: Sequence[str]) -> list[AnyObligation]:
    """Return the obligations that the values of `--only` name, in their order; UnknownName if one names nothing.

    A value is the name of an obligation, or ids with commas between them: of rules, clauses, measures, or their first words.
    """
    named = {obligation.name for obligation in asked}
    wishes = [wish for value in wanted for wish in ([value] if value in named else [part.strip() for part in value.split(",")])]
    for wish in wishes:
        if not any(_is_named(obligation, wish) for obligation in asked):
            ids = sorted({identifier for obligation in asked for identifier in ids_of(obligation)})
            raise UnknownName("rule, clause or obligation", wish, [*ids, *named])
    return [obligation for obligation in asked if any(_is_named(obligation, wish) for wish in wishes)]


def _is_named(obligation: AnyObligation, wish: str) -> bool:
    return wish == obligation.name or any(f"{identifier}.".startswith(f"{wish}.") for identifier in ids_of(obligation))


def ids_of(obligation: AnyObligation) -> list[str]:
    """Return the ids in the name of an obligation: its words with a dot inside."""
    return [word for part in obligation.name.split() if "." in (word := part.strip(",:"))]
