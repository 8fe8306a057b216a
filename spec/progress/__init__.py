"""What is reached at last: rounds, checkpoints, flushes, failovers and releases end.

A text names what remains, the steps that make it smaller, and the steps it does not speak of: faults, and a peer that sends more
than it has to. Two things are assumed and not proved: pages and channels are finite, and where some helpful step can be taken, one is
taken at last (weak fairness). For a page of a packet that means that the peer goes on sending what it has announced.
"""
