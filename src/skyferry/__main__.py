"""The program `skyferry`, also as `python -m skyferry`."""

import _signal as signal  # type: ignore[import-not-found]  # no stubs; `signal` imports enum: 8 of 12 ms in which Ctrl-C prints a traceback
import atexit
import gc
import os
import sys

from skyferry import COLLECT_AFTER


def main() -> None:
    """Run the command line. Ctrl-C during its imports ends the process without a traceback."""
    catches = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # or it is ignored, as in the background
    if catches:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    codes: list[int] = []
    if not atexit._ncallbacks():  # else something waits for the end, such as a measurement of coverage
        atexit.register(_end_process, codes)  # before the imports, so that it runs after all other functions
    gc.set_threshold(COLLECT_AFTER)  # before the imports, for what they make stays
    from skyferry.cli import main as run

    if catches:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    except SystemExit as ended:
        if getattr(sys.modules["__main__"], "main", None) is main and isinstance(ended.code, int):
            codes.append(ended.code)  # this is the program, and the process ends with this code
        raise


def _end_process(codes: list[int]) -> None:
    """End the process at once: the system frees its memory faster than the destruction of each object.

    Threads have ended, and everything else that was registered for the end has run.
    """
    if not codes or sys.flags.dev_mode:  # which reports what was left open
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return  # one is broken, closed or None: the interpreter tries again, and reports it
    os._exit(codes[0])


if __name__ == "__main__":
    main()
