"""Starts one server and stands between it and the process that asked for it.

Run as a script of its own. Standard input gives one line of JSON that says what to start, and stays
open: when it ends, or when the asking process is gone, however it went, the server is ended. The
line `release` lets the server go on alone. Standard output gives one line: the server's process
number, or why it did not start. Standard error is the server's log. It ends with the server's exit
code where the server ended by itself.
"""

import json
import os
import select
import signal
import subprocess
import sys

import psutil


def main() -> None:
    """Starts the server and waits for the first of: its end, the caller's end, the release."""
    caller = os.getppid()
    order = json.loads(sys.stdin.readline())
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, _wake)
    try:
        server = subprocess.Popen(  # noqa: S603 - the command comes from the process that asks
            order["argv"],
            env=order["env"],
            cwd=order["cwd"],
            user=order["uid"],
            group=order["gid"],
            extra_groups=None if order["uid"] is None else [],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
            start_new_session=True,
        )
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201 - the protocol
        return
    print(json.dumps({"pid": server.pid}), flush=True)  # noqa: T201 - the protocol
    while server.poll() is None:
        # A fork of the caller may hold our input open after the caller's end: ask for both.
        ready, _, _ = select.select([sys.stdin, woken], [], [], 1.0)
        if woken in ready:  # the server may have been stopped, not ended
            os.read(woken, 1024)
        if sys.stdin in ready:
            if sys.stdin.readline() == "release\n":
                return
            break
        if os.getppid() != caller:
            break
    # Who asked may have seen it end sooner, and have let go; the code is the same.
    if (code := server.poll()) is not None:
        sys.exit(max(code, 0))
    _end(server, signal.Signals(order["stop"]), order["grace"])


def _wake(*_: object) -> None:
    """A handler there must be, or the signal would not wake the loop."""


def _end(server: "subprocess.Popen[bytes]", stop: signal.Signals, grace: float) -> None:
    """Ends the server in an orderly way, or after `grace` seconds by force, its children too."""
    children = psutil.Process(server.pid).children(recursive=True)
    for process in (*children, server):
        try:
            process.send_signal(signal.SIGCONT)
        except psutil.NoSuchProcess:
            continue
    server.send_signal(stop)
    try:
        server.wait(grace)
    except subprocess.TimeoutExpired:
        children = psutil.Process(server.pid).children(recursive=True)
        server.kill()
        server.wait()
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    main()
