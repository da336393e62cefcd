"""The errors that Skyferry raises on purpose.

    SkyferryError
    ├── ConfigError                 the configuration cannot work; exit code 2
    ├── EventError                  the message is not an event that Skyferry reads  permanent
    │   ├── UnknownFormat
    │   ├── UnroutedBucket          no configured store matches the event's bucket
    │   ├── NoRoute                 no route takes a redriven dead letter any more
    │   └── InvalidKey              the store cannot keep the key, or it leaves its bucket
    ├── StoreError                  a store refused or failed
    │   ├── ObjectNotFound          the object (or the pinned version) is not there  skip
    │   ├── PreconditionFailed      another writer was first: expected, not a fault  retry
    │   ├── VersionChanged          the source changed while it was read             retry
    │   ├── ChecksumMismatch        bytes differ from what was declared              retry
    │   ├── UploadGone              the upload was finished, aborted or has expired  retry
    │   ├── Throttled               the store asks for fewer requests    outage      retry
    │   ├── StoreTimeout            no answer in time                    outage      retry
    │   ├── ConnectionLost          reset, refused, unreachable          outage      retry
    │   ├── StoreUnavailable        the store reports that it is down    outage      retry
    │   │   └── BreakerOpen         its circuit breaker refused the request          retry
    │   ├── IdentityRefused         credentials missing or rejected      outage      retry
    │   ├── QuotaExceeded           no room left                         outage      retry
    │   ├── OutOfResources          no files, threads or memory left     outage      retry
    │   ├── PermissionDenied        the identity lacks a permission                  permanent
    │   ├── RegionNotAllowed        the store is where its route allows no copies    permanent
    │   ├── BucketNotFound          the bucket itself is missing                     permanent
    │   │   └── FolderMissing       a local folder: perhaps not mounted  outage      retry
    │   └── Unsupported             the store cannot do what the route needs         permanent
    ├── LedgerError
    │   ├── LedgerDamaged           its file is damaged                      outage  retry
    │   ├── LedgerIncompatible      its schema does not fit this release; exit code 5
    │   └── Fenced                  the claim was lost to another worker             skip
    ├── QueueError                  the queue could not be reached           outage  retry
    │   ├── QueueDamaged            its file is damaged                      outage  retry
    │   ├── QueueIncompatible       its schema does not fit this release; exit code 5
    │   ├── CannotSend              the queue is receive-only                        permanent
    │   └── MessageLost             it no longer has the message of a transfer       permanent
    ├── ServiceUnreachable          a running service did not answer a command       retry
    ├── NotFound                    no such transfer, dead letter or route (HTTP 404, exit code 1)
    └── InternalError               a bug in Skyferry, wrapped so that the object is not lost    retry

`disposition` is what the worker does: `retry` (with back-off, up to the event's maximum), `permanent` (a dead letter
at once) or `skip` (settled with a reason). `outage` marks errors that concern the store rather than the object. They feed
its circuit breaker, and count as an attempt only while the store serves other requests; `Throttled` never counts. `local`
marks errors that concern this process alone. They neither feed a breaker nor count as an attempt.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar, TypeVar

from skyferry.redaction import redact_secrets

E = TypeVar("E", bound=BaseException)


class Disposition(StrEnum):
    """The worker's reaction to an error."""

    RETRY = "retry"
    PERMANENT = "permanent"
    SKIP = "skip"


class SkyferryError(Exception):
    """Something went wrong in Skyferry."""

    disposition: ClassVar[Disposition] = Disposition.RETRY
    outage: ClassVar[bool] = False
    local: ClassVar[bool] = False  # concerns this process, neither the store nor the object
    transient: bool | None = None  # it may pass while nothing is changed; None = undecided
    kind: ClassVar[str] = "skyferry_error"  # stable name in logs, metrics and dead letters: `checksum_mismatch`

    def __init_subclass__(cls) -> None:
        cls.kind = "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(cls.__name__))

    def __init__(
        self,
        message: str = "",
        *,
        where: str = "",
        hint: str = "",
        retry_after: float | None = None,
        transient: bool | None = None,
    ) -> None:
        """Take the store, key, file or line as `where`, the next step for the operator as `hint`, seconds as `retry_after`.

        Adapters at servers decide whether an error is `transient`; None leaves it to the class. A message may repeat a server's
        answer, so whatever looks like a secret is redacted.
        """
        self.message = redact_secrets(message) if message else (type(self).__doc__ or "").splitlines()[0]
        self.where = where
        self.hint = hint
        self.retry_after = retry_after
        if transient is not None:
            self.transient = transient
        # Set by the decorator of the failing store:
        self.store = ""  # its name
        self.key = ""  # of the request
        self.side = ""  # `Operation.side`
        self.since = 0.0  # when the request began, monotonic seconds
        self.tries = 1  # of the request: an earlier one may have had its effect
        self.sent = True  # False: no connection was made, so the request cannot take effect
        super().__init__(self.message)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(SkyferryError):
    """The configuration cannot work."""

    disposition = Disposition.PERMANENT


class EventError(SkyferryError):
    """The message is not an event that Skyferry reads."""

    disposition = Disposition.PERMANENT


class UnknownFormat(EventError):
    """The message has no known notification format."""


class UnroutedBucket(EventError):
    """No configured store matches the event's bucket."""


class NoRoute(EventError):
    """No route takes this event any more."""


class InvalidKey(EventError):
    """The store cannot keep this key."""


class StoreError(SkyferryError):
    """The store failed."""

    partial: bytes = b""  # the beginning of a range, received before the connection broke


class ObjectNotFound(StoreError):
    """The object does not exist."""

    disposition = Disposition.SKIP


class PreconditionFailed(StoreError):
    """The destination object is not the expected one."""


class VersionChanged(StoreError):
    """The source changed while it was being read."""


class ChecksumMismatch(StoreError):
    """The bytes do not match their declared checksum."""


class UploadGone(StoreError):
    """The upload does not exist any more."""


class Throttled(StoreError):
    """The store asks for fewer requests."""

    outage = True
    transient = True


class StoreTimeout(StoreError):
    """The store did not answer in time."""

    outage = True
    transient = True


class ConnectionLost(StoreError):
    """The connection to the store was refused or broke."""

    outage = True
    transient = True


class StoreUnavailable(StoreError):
    """The store reports that it is unavailable."""

    outage = True
    transient = True


class BreakerOpen(StoreUnavailable):
    """The circuit breaker of the store is open."""

    local = True


class IdentityRefused(StoreError):
    """No credentials were granted."""

    outage = True  # concerns every object: work waits until the identity is corrected


class QuotaExceeded(StoreError):
    """The store has no room left."""

    outage = True


class OutOfResources(StoreError):
    """This process has no file descriptors, threads or memory left."""

    outage = True
    local = True


class PermissionDenied(StoreError):
    """The identity lacks a permission."""

    disposition = Disposition.PERMANENT


class RegionNotAllowed(StoreError):
    """The store is in a region where the route allows no copies."""

    disposition = Disposition.PERMANENT


class BucketNotFound(StoreError):
    """The bucket does not exist."""

    disposition = Disposition.PERMANENT


class FolderMissing(BucketNotFound):
    """The folder does not exist. Its disk may not be mounted, so the work waits."""

    disposition = Disposition.RETRY
    outage = True


class Unsupported(StoreError):
    """The store cannot do this."""

    disposition = Disposition.PERMANENT


class LedgerError(SkyferryError):
    """The ledger could not be read or written."""

    outage = True


class LedgerDamaged(LedgerError):
    """The ledger file, or a record in Redis, is damaged."""


class LedgerIncompatible(LedgerError):
    """The schema of the ledger does not fit this release."""


class Fenced(LedgerError):
    """The claim was lost to another worker."""

    disposition = Disposition.SKIP
    outage = False


class QueueError(SkyferryError):
    """The queue could not be reached."""

    outage = True


class QueueDamaged(QueueError):
    """The queue file is damaged."""


class QueueIncompatible(QueueError):
    """The schema of the queue does not fit this release."""


class CannotSend(QueueError):
    """This queue is receive-only."""

    disposition = Disposition.PERMANENT
    outage = False


class MessageLost(QueueError):
    """The message of the transfer no longer exists."""

    disposition = Disposition.PERMANENT
    outage = False


class ServiceUnreachable(SkyferryError):
    """The service did not answer."""


class NotFound(SkyferryError):
    """No such transfer, dead letter or route exists."""

    disposition = Disposition.PERMANENT


class InternalError(SkyferryError):
    """Something unexpected happened in Skyferry itself."""


def list_kinds(base: type[SkyferryError] = SkyferryError) -> list[str]:
    """Return the kinds of all errors."""
    return [base.kind, *(kind for each in base.__subclasses__() for kind in list_kinds(each))]


def flatten_group(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """Yield the errors of a group and of the groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from flatten_group(error)
        else:
            yield error
