"""Every exit code, in this one place. `docs/reference/exit-codes.md` is made of it."""

from __future__ import annotations

from enum import IntEnum

from skyferry.errors import (
    CannotSend,
    ConfigError,
    ConnectionLost,
    LedgerError,
    QueueError,
    ServiceUnreachable,
    SkyferryError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
)

AWAY = ConnectionLost | StoreTimeout | StoreUnavailable | Throttled  # a store that may answer later


class ExitCode(IntEnum):
    """What the process says when it ends."""

    def __new__(cls, number: int, meaning: str) -> ExitCode:
        member = int.__new__(cls, number)
        member._value_ = number
        member.meaning = meaning
        return member

    meaning: str

    OK = 0, "It is done; for `run`: drained, nothing is lost."
    FAILED = (
        1,
        "It did not work, or there is no such transfer, dead letter or object. The last line of standard error says why.",
    )
    USAGE = 2, "The command line or the configuration is wrong; nothing was touched."
    DEAD_LETTERS = (
        3,
        "`run --until-idle` has finished, and there are dead letters: `skyferry dead-letters list`. `copy` has finished, and not "
        "everything has arrived.",
    )
    UNREACHABLE = (
        4,
        "The service, the ledger, the queue or a store could not be reached, or asks for fewer requests; the same command may work "
        "later.",
    )
    INTERRUPTED = (
        130,
        "Interrupted: `run` by a second signal, every other command by the first. Leases are freed by the next start.",
    )
    BROKEN_PIPE = (
        141,
        "The reader of standard output went away, as in `skyferry ls URL | head`. `run` goes on without it.",
    )


def of(error: SkyferryError) -> ExitCode:
    """The code for an error that ends a command."""
    if isinstance(error, ConfigError | CannotSend):
        return ExitCode.USAGE
    if isinstance(error, LedgerError | QueueError | ServiceUnreachable | AWAY):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED
