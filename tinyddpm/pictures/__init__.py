"""Plots, grids and films, and the pictures that a run folder is given. It imports `runs`."""
