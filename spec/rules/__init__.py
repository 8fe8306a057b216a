"""The rules, one text each: who may do what, and when."""
