"""Which process imported the package: what was forked from it since has to take care (`isolation`)."""

import os

PROCESS = os.getpid()
