"""``python -m waft``: the command line."""

from .cli import main

main()
