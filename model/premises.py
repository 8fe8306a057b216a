"""When a clause says something about a state, and is not true for want of what it speaks of."""

from colofd.spec.language import And, Every, Expr, Literal, Not, Or, Some, Where


def premise(formula: Expr[bool]) -> Expr[bool]:
    """Return the formula that holds where `formula` is not vacuous: some instance of it has its premise.

    `a → b` says something where `a` holds and `b` says something; whatever is no implication always does.
    """
    match formula:
        case Every(variable=variable, body=body):
            return Some(variable, premise(body))
        case And(left=left, right=right):
            return Or(premise(left), premise(right))
        case Or(left=Not(operand=condition), right=conclusion):
            return And(condition, premise(conclusion))
        case Where(condition=condition, then=then, otherwise=otherwise):
            return Or(And(condition, premise(then)), And(Not(condition), premise(otherwise)))
    return Literal(True, bool)  # a truth value of the language
