"""``python -m vaezoo``: the same as the ``vaezoo`` command."""

from vaezoo.cli.main import main

main()
