"""A child of `--processes`, which its parent starts: `python -m …service.worker_process DESCRIPTOR`."""

from __future__ import annotations

import signal
import socket
import sys

from skyferry.cli.event_loop import run_async, tune_collector


def main(descriptor: int) -> int:
    """Do the job that the parent sends through the inherited socket. Return the exit code."""
    from skyferry.processes.worker import run_worker

    for number in (signal.SIGINT, signal.SIGHUP):  # the parent decides about the drain
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP})
    return 0 if run_async(run_worker(socket.socket(fileno=descriptor), tune_collector)) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
