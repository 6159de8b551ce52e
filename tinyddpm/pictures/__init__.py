"""Plots, grids and films, and the pictures of a run folder. It imports `runs`."""

from . import settings as settings  # first: it imports matplotlib as we need it
