"""The ``vaezoo`` command, also as ``python -m vaezoo``."""

from __future__ import annotations

from vaezoo.utils import own_process


def main() -> None:
    """Runs the command line and exits with its exit code."""
    own_process.install()  # before anything is imported that takes long
    from vaezoo.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
