"""Lets `python -m tinyddpm` do what `tinyddpm` does."""

import sys

from .cli import main

sys.exit(main())
