"""What all tests share."""

from hypothesis import settings

# A slow or busy machine is no failure: time is measured in benchmarks, not in tests.
settings.register_profile("evo2-tasks", deadline=None)
settings.load_profile("evo2-tasks")
