"""What can be told of both sides from their texts alone; that they are proved, test_proof.py says."""

from colofd.model.proof import structural_faults
from colofd.model.proof_obligations import ghost_flows
from colofd.spec.both_sides import BOTH_SIDES


def test_ghosts_decide_nothing_and_sorts_have_no_cycle() -> None:
    """Given both sides, When the trees are looked at, Then no ghost flows into a cell, and the fragment is decidable."""
    assert structural_faults(BOTH_SIDES) == ()
    assert [ghost_flows(BOTH_SIDES, ghost) for ghost in ("survivor_device", "is_ahead")] == [(), ()]
