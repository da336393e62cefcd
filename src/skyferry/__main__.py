"""The program `skyferry`, also as `python -m skyferry`."""

import gc
import signal

from skyferry import COLLECT_AFTER


def main() -> None:
    """Run the command line. Ctrl-C during its imports ends the process without a traceback."""
    catches = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # or it is ignored, as in the background
    if catches:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(COLLECT_AFTER)  # before the imports, for what they make stays
    from skyferry.cli import main as run

    if catches:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
