"""Holds any receiver to the spec: subjects, schedules, reports, command line."""
