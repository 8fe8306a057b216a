"""What must hold: one text per rule. Imports nothing of ours."""
