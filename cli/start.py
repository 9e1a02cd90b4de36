"""Start the program. Ctrl-C is handled from here on, also while the other modules are imported."""

import sys
from typing import NoReturn

from bincodec.cli import interruption


def main() -> NoReturn:
    """Run the command that the arguments of the process name, and end the process with its exit code."""
    try:
        interruption.heed()

        from bincodec.cli.main import main as command

        command.main()
    except KeyboardInterrupt:  # The command handles Ctrl-C itself, so it was not imported yet.
        interruption.settle_on(interruption.EXIT_CODE)
        sys.stderr.write("bincodec: error: interrupted\n")
        sys.exit(interruption.EXIT_CODE)
    finally:
        interruption.ignore()
