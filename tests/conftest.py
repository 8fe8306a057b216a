"""What all tests share: Hypothesis draws the same examples in every run, and no example is judged by its time."""

from hypothesis import settings

settings.register_profile("same-every-time", deadline=None, derandomize=True, database=None)
settings.load_profile("same-every-time")
