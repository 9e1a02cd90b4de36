"""Run one program; say how long it took and how much memory: `python -I -S launcher.py CORES PROGRAM...`.

Linux counts the memory of whoever starts a program towards that program's own peak, so this small interpreter
stands between. It knows the standard library only, and hands the program's exit code on. The last line on
standard output is JSON.
"""

import json
import os
import sys
import time


def main(cores: int, program: list[str]) -> int:
    """Run `program` on the last `cores` of the cores that this process may use; 0 leaves them as they are."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    start = time.perf_counter()
    child = os.posix_spawn(program[0], program, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"seconds": seconds, "megabytes": usage.ru_maxrss * unit / 1e6}))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
