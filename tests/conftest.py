"""What all tests share: one hypothesis profile, the same draws in every run, and matplotlib without a screen."""
import os

os.environ["MPLBACKEND"] = "Agg"

from hypothesis import settings  # noqa: E402

settings.register_profile("tests", deadline=None, max_examples=25, derandomize=True, print_blob=True, database=None)
settings.load_profile("tests")
