"""The recipes: a configuration each (NAME.toml), and its expected curve (NAME.csv). See `runs`."""
