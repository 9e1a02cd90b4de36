"""Remember which process imported the package, so that `isolation` recognises processes forked from it."""

import os

PROCESS = os.getpid()
