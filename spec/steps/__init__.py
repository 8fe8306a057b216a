"""What no step does, what must stay possible, and that no step is for nothing: claims about the states before and after a step."""

from colofd.spec.steps import abilities, orders, writes
from colofd.spec.steps.books import steps, steps_of_both

__all__ = ["abilities", "orders", "steps", "steps_of_both", "writes"]
