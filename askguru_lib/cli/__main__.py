"""``python -m askguru_lib.cli``."""

from askguru_lib.cli import main

main()
