"""The mathematics beyond the lecture, each equation a function.

Everything here plugs into the core as an argument, and imports the core alone.
"""
