"""Plots, grids and films, and the pictures of a run folder. It imports `runs`."""
