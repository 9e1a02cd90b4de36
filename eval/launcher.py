"""Run one program and report its time and memory: `python -I -S launcher.py CORES PROGRAM...`.

On Linux, the peak memory of a program includes the memory of the process that starts it. Programs are
therefore started by this small interpreter, which only uses the standard library. It prints a last line of
JSON to standard output, and returns the program's exit code.
"""

import json
import os
import sys
import time


def main(cores: int, program: list[str]) -> int:
    """Run `program` on the last `cores` of the cores that this process may use, or on all of them with 0."""
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
