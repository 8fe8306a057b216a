"""Real QEMU as a peer: how it is had, started and driven."""
