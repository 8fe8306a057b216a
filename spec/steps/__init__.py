"""What no step does, what must stay possible, that no step is for nothing, and in how many states all of it begins."""

from colofd.spec.steps import abilities, orders, writes
from colofd.spec.steps.beginnings import BEGINNINGS
from colofd.spec.steps.books import steps, steps_of_both

__all__ = ["BEGINNINGS", "abilities", "orders", "steps", "steps_of_both", "writes"]
