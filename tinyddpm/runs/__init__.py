"""One training run: its configuration, its folder, its checkpoints, and a trained run opened again.

It imports the core, `more`, `fast`, `interop` and `data`; nothing that draws or measures.
"""
