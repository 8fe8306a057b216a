"""The readings of the spec: the reference model, slow and obvious."""
