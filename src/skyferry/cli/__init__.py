"""The command line: one module per command, listed in `command_table`."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence

import click

from skyferry import __version__
from skyferry.cli import exit_codes, streams
from skyferry.cli.arguments import other_tools
from skyferry.cli.lazy_group import LazyGroup
from skyferry.cli.parameters import CONTEXT
from skyferry.cli.render import output
from skyferry.cli.streams import OutputLost
from skyferry.errors import OutOfResources, SkyferryError, flatten_group
from skyferry.tasks import threads

app = LazyGroup(
    "skyferry",
    help="Copies each object to another store the moment it lands: verified, remembered, never backwards.",
    no_args_is_help=True,
    context_settings=CONTEXT,
)
click.version_option(
    __version__, "--version", "-V", message="skyferry %(version)s", help="Print the version, and exit."
)(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, and exit with a code of `ExitCode`. Prints expected errors as one line each, without a traceback."""
    code: int = exit_codes.ExitCode.OK
    expected: list[SkyferryError] = []
    interrupted = False
    lost: OutputLost | None = None
    streams.install_streams()
    try:
        with streams.flush_on_exit(), warnings.catch_warnings():
            warnings.showwarning = _print_warning
            code = _run_command(arguments)
    except* OutputLost as group:
        lost = next(flatten_group(group))
    except* SkyferryError as group:
        expected = list(flatten_group(group))
    except* OSError as group:
        expected = [_translate_file_error(error) for error in flatten_group(group)]
    except* (RuntimeError, MemoryError) as group:
        expected = [_translate_exhaustion(error) for error in flatten_group(group)]
    except* _cancelled_errors():
        interrupted = True
    if lost is not None and lost.broken:
        sys.exit(exit_codes.ExitCode.BROKEN_PIPE)  # no message: the reader has enough
    if lost is not None:
        print(f"error: {lost}", file=sys.stderr)
        sys.exit(exit_codes.ExitCode.FAILED)
    for error in expected:
        print(f"error: {output.escape_lines(str(error))}", file=sys.stderr)
    if expected:
        sys.exit(exit_codes.exit_code_for(expected[0]))
    sys.exit(exit_codes.ExitCode.INTERRUPTED if interrupted else code)


def _run_command(arguments: Sequence[str] | None) -> int:
    """Run a command, and return the exit code that it or Click chooses."""
    try:
        return app.main(arguments, prog_name="skyferry", standalone_mode=False) or exit_codes.ExitCode.OK
    except click.Abort as aborted:
        if isinstance(aborted.__cause__, KeyboardInterrupt):
            return exit_codes.ExitCode.INTERRUPTED
        print("Aborted!", file=sys.stderr)
        return exit_codes.ExitCode.FAILED
    except click.ClickException as error:
        other_tools.explain_usage(error).show()
        return error.exit_code


def _translate_file_error(error: OSError) -> SkyferryError:
    """Return the error of a file or folder that cannot be used; raise any other."""
    if error.errno == errno.ENOENT and error.filename is None and not _has_folder():
        return SkyferryError("the current folder no longer exists", hint="change to another one")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return OutOfResources("too many files are open", hint="raise the limit of open files (ulimit -n)")
    if error.filename is None or not isinstance(error.filename, str | bytes | os.PathLike):
        raise error
    hint = "correct the path, or its permissions"
    return SkyferryError(error.strerror or str(error), where=os.fsdecode(error.filename), hint=hint)


def _translate_exhaustion(error: RuntimeError | MemoryError) -> SkyferryError:
    """Return the error of a process that gets no more threads or memory; raise any other."""
    if isinstance(error, MemoryError):
        return OutOfResources("this process gets no more memory", hint=threads.HINT)
    if not threads.is_refusal(error):
        raise error
    return threads.refuse_thread()


def _has_folder() -> bool:
    """Return False if the current folder was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {output.escape_lines(str(message))}", file=sys.stderr)


def _cancelled_errors() -> tuple[type[BaseException], ...]:
    """Return CancelledError, unless no command has imported asyncio.

    A signal during the failure of tasks raises it: asyncio.run does not translate it to KeyboardInterrupt then.
    """
    asyncio = sys.modules.get("asyncio")
    return (asyncio.CancelledError,) if asyncio else ()
