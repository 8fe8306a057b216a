"""The language of the spec: guarded commands in plain Python, traced once into a small immutable tree.

A rule reads the state before the step, and all its writes happen at once. Expressions have no truth
value, so that `if`, `and`, `or`, `not` and chained comparisons cannot be misread: use `&`, `|`, `~`,
`>>` (implies), `where()`, `every()` and `some()`. What Python would decide by itself is refused too: `is`, a look-up in a set or a
dict, a truth value in place of a condition. No cell is read below the line that writes it, where it could be taken for the new value.
Whatever is wrong with a rule fails when its module is imported, with the rule's id and the line.
"""

from colofd.spec.language.canonical import canonical, canonical_claim, sha256
from colofd.spec.language.cells import Map, Relation, Scalar, State, Update
from colofd.spec.language.expressions import (
    And,
    Constant,
    Equal,
    Every,
    Expr,
    Index,
    Literal,
    Not,
    Or,
    Parameter,
    Read,
    Some,
    Sort,
    SpecError,
    Where,
    every,
    some,
    sort_name,
    where,
)
from colofd.spec.language.layers import Layer
from colofd.spec.language.progress import Chain, Except, Excuse, Link, Measure, Progress, ProgressBook, Remaining, Wait
from colofd.spec.language.rules import Actor, Clause, ClauseBook, Rule, RuleBook, Spec
from colofd.spec.language.steps import Ability, StepBook, StepClaim

__all__ = [
    "Ability",
    "Actor",
    "And",
    "Chain",
    "Clause",
    "ClauseBook",
    "Constant",
    "Equal",
    "Every",
    "Except",
    "Excuse",
    "Expr",
    "Index",
    "Layer",
    "Link",
    "Literal",
    "Map",
    "Measure",
    "Not",
    "Or",
    "Parameter",
    "Progress",
    "ProgressBook",
    "Read",
    "Relation",
    "Remaining",
    "Rule",
    "RuleBook",
    "Scalar",
    "Some",
    "Sort",
    "Spec",
    "SpecError",
    "State",
    "StepBook",
    "StepClaim",
    "Update",
    "Wait",
    "Where",
    "canonical",
    "canonical_claim",
    "every",
    "sha256",
    "some",
    "sort_name",
    "where",
]
