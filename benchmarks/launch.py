"""Runs a command from a process that holds next to nothing, and notes what it has spent.

Linux counts for a process's peak what its parent held when it was started. Run as `python -I -S
launch.py FILE COMMAND …`; FILE gets the exit code (of a signal: negative), the seconds from start
to end, the CPU seconds with those of children that were waited for, and the peak as `getrusage`
tells it.
"""

import json
import os
import signal
import sys
import time


def launch(file: str, *command: str) -> None:
    """Runs it to its end. Signals are for the command, which is of the same process group."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.execvp(command[0], command)  # noqa: S606 - our own commands
        finally:
            os._exit(127)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _, status, usage = os.wait4(child, 0)
    spent = {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss,
    }
    with open(file, "w", encoding="utf-8") as target:  # noqa: PTH123 - nothing more is imported
        json.dump(spent, target)


if __name__ == "__main__":
    launch(*sys.argv[1:])
