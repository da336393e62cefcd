"""The exit codes. `docs/reference/exit-codes.md` is generated from them."""

from __future__ import annotations

from enum import IntEnum

from skyferry.errors import (
    CannotSend,
    ConfigError,
    ConnectionLost,
    FolderMissing,
    LedgerError,
    LedgerIncompatible,
    QueueError,
    QueueIncompatible,
    ServiceUnreachable,
    SkyferryError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
)

STORE_OUTAGE = ConnectionLost | StoreTimeout | StoreUnavailable | Throttled  # the store may respond later


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    def __new__(cls, number: int, meaning: str) -> ExitCode:
        member = int.__new__(cls, number)
        member._value_ = number
        member.meaning = meaning
        return member

    meaning: str

    OK = 0, "The command succeeded. For `run`: the service drained; nothing is lost."
    FAILED = (
        1,
        "The command failed, or the transfer, dead letter or object does not exist; or a server refused the password, the "
        "certificate or a right, expects TLS or has none, or has no such database. Standard error ends with the reason.",
    )
    USAGE = (
        2,
        "The command line or the configuration is invalid, or `server.listen` cannot be opened; nothing was changed.",
    )
    DEAD_LETTERS = (
        3,
        "`run --until-idle` finished with dead letters: see `skyferry dead-letters list`. `copy` finished, but some objects "
        "did not arrive, or deletes were withheld.",
    )
    UNREACHABLE = (
        4,
        "The service, the ledger, the queue or a store is unreachable or throttles; the same command may succeed later. `run` "
        "waits for a ledger or a queue at a server instead, except with `--until-idle`.",
    )
    INCOMPATIBLE = (
        5,
        "The schema of the ledger or of a queue does not fit this release. Update Skyferry, or run `skyferry ledger migrate`: the "
        "reason says which.",
    )
    INTERRUPTED = (
        130,
        "Interrupted: `run` by a second signal, other commands by the first. The next start releases the leases.",
    )
    BROKEN_PIPE = (
        141,
        "The reader of standard output closed it, as in `skyferry ls URL | head`. `run` continues without it.",
    )


def exit_code_for(error: SkyferryError) -> ExitCode:
    """Return the exit code for an error that ends a command."""
    if isinstance(error, ConfigError | CannotSend):
        return ExitCode.USAGE
    if isinstance(error, LedgerIncompatible | QueueIncompatible):
        return ExitCode.INCOMPATIBLE
    if error.transient is False:  # such as a refused password: no later try succeeds
        return ExitCode.FAILED
    if isinstance(error, LedgerError | QueueError | ServiceUnreachable | STORE_OUTAGE | FolderMissing):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED
