"""The mathematics beyond the lecture, each equation a function. It plugs into the core by argument, and imports the core alone."""
