"""Every error that Skyferry raises on purpose.

    SkyferryError
    ├── ConfigError                 the configuration cannot work; exit code 2
    ├── EventError                  a message that is not an event we read           permanent
    │   ├── UnknownFormat
    │   ├── UnroutedBucket          no store of the configuration is the event's bucket
    │   ├── NoRoute                 a redriven letter that no route takes any more
    │   └── InvalidKey              a key that the store cannot hold, or that leaves its bucket
    ├── StoreError                  a store refused or failed
    │   ├── ObjectNotFound          the object (or the pinned version) is not there  skip
    │   ├── PreconditionFailed      somebody else wrote first: a decision, no fault  retry
    │   ├── VersionChanged          the source changed while it was read             retry
    │   ├── ChecksumMismatch        bytes differ from what was declared              retry
    │   ├── UploadGone              the upload was finished, aborted or has expired  retry
    │   ├── Throttled               the store asks for fewer requests    outage      retry
    │   ├── StoreTimeout            no answer in time                    outage      retry
    │   ├── ConnectionLost          reset, refused, unreachable          outage      retry
    │   ├── StoreUnavailable        the store says it is down            outage      retry
    │   ├── IdentityRefused         no credential, or none that is taken outage      retry
    │   ├── QuotaExceeded           no room left                         outage      retry
    │   ├── OutOfResources          this process has no descriptors left outage      retry
    │   ├── PermissionDenied        our identity may not                             permanent
    │   ├── BucketNotFound          the bucket itself is missing                     permanent
    │   │   └── FolderMissing       a local one: maybe not mounted       outage      retry
    │   └── Unsupported             the store cannot do what the route needs         permanent
    ├── LedgerError
    │   ├── LedgerDamaged           its file is damaged                      outage  retry
    │   └── Fenced                  the claim was lost to another worker             skip
    ├── QueueError                  the queue could not be reached           outage  retry
    │   ├── QueueDamaged            its file is damaged                      outage  retry
    │   └── CannotSend              it is only received from                        permanent
    ├── ServiceUnreachable          a running service did not answer a command       retry
    ├── NotFound                    no such transfer, dead letter or route (HTTP 404, exit code 1)
    └── InternalError               a bug of ours, wrapped so that the object is not lost        retry

`disposition` says what the worker does: `retry` (with back-off, up to the event's maximum), `permanent` (a dead letter
at once), `skip` (settled with a reason). `outage` marks errors which say more about the store than about the object:
they feed its circuit breaker, and they burn an attempt only while the store serves others; `Throttled` burns none. `local`
marks those that say something about this process alone: no breaker hears of them, and they burn no attempt.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from skyferry.redaction import redacted


class Disposition(StrEnum):
    """What the worker does about an error."""

    RETRY = "retry"
    PERMANENT = "permanent"
    SKIP = "skip"


class SkyferryError(Exception):
    """Something went wrong in Skyferry."""

    disposition: ClassVar[Disposition] = Disposition.RETRY
    outage: ClassVar[bool] = False
    local: ClassVar[bool] = False  # of this process, neither of the store nor of the object
    kind: ClassVar[str] = (
        "skyferry_error"  # its stable name in logs, metrics and dead letters, e.g. `checksum_mismatch`
    )

    def __init_subclass__(cls) -> None:
        cls.kind = "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(cls.__name__))

    def __init__(self, message: str = "", *, where: str = "", hint: str = "", retry_after: float | None = None) -> None:
        """`where` names the store, key, file or line; `hint` tells the operator what to do; `retry_after` is in seconds.

        A message may repeat what a server said: what has the form of a secret is taken out of it.
        """
        self.message = redacted(message) if message else (type(self).__doc__ or "").splitlines()[0]
        self.where = where
        self.hint = hint
        self.retry_after = retry_after
        self.store = ""  # which store failed,
        self.side = ""  # what it was asked for ("read" or "write"),
        self.since = 0.0  # and when first (monotonic seconds): set where the request is guarded
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
    """No store of the configuration is the event's bucket."""


class NoRoute(EventError):
    """No route takes this event any more."""


class InvalidKey(EventError):
    """The store cannot hold this key."""


class StoreError(SkyferryError):
    """The store failed."""

    partial: bytes = b""  # of a range, what had come when the answer broke off


class ObjectNotFound(StoreError):
    """The object does not exist."""

    disposition = Disposition.SKIP


class PreconditionFailed(StoreError):
    """The object at the destination is not the one that was expected."""


class VersionChanged(StoreError):
    """The source changed while it was being read."""


class ChecksumMismatch(StoreError):
    """The bytes are not the ones that were declared."""


class UploadGone(StoreError):
    """The upload does not exist any more."""


class Throttled(StoreError):
    """The store asks for fewer requests."""

    outage = True


class StoreTimeout(StoreError):
    """The store did not answer in time."""

    outage = True


class ConnectionLost(StoreError):
    """The connection to the store was refused or broke."""

    outage = True


class StoreUnavailable(StoreError):
    """The store says that it is not available."""

    outage = True


class IdentityRefused(StoreError):
    """No credential was given to us."""

    outage = True  # whatever the object: its work waits until the identity is put right


class QuotaExceeded(StoreError):
    """The store has no room left."""

    outage = True


class OutOfResources(StoreError):
    """This process has no file descriptors or no memory left."""

    outage = True
    local = True


class PermissionDenied(StoreError):
    """This identity may not do that."""

    disposition = Disposition.PERMANENT


class BucketNotFound(StoreError):
    """The bucket does not exist."""

    disposition = Disposition.PERMANENT


class FolderMissing(BucketNotFound):
    """The folder does not exist: its disk may not be mounted, so the work waits."""

    disposition = Disposition.RETRY
    outage = True


class Unsupported(StoreError):
    """The store cannot do this."""

    disposition = Disposition.PERMANENT


class LedgerError(SkyferryError):
    """The ledger could not be read or written."""

    outage = True


class LedgerDamaged(LedgerError):
    """The file of the ledger is damaged."""


class Fenced(LedgerError):
    """The claim was lost to another worker."""

    disposition = Disposition.SKIP
    outage = False


class QueueError(SkyferryError):
    """The queue could not be reached."""

    outage = True


class QueueDamaged(QueueError):
    """The file of the queue is damaged."""


class CannotSend(QueueError):
    """Nothing can be sent to this queue."""

    disposition = Disposition.PERMANENT
    outage = False


class ServiceUnreachable(SkyferryError):
    """The service did not answer."""


class NotFound(SkyferryError):
    """There is no such thing."""

    disposition = Disposition.PERMANENT


class InternalError(SkyferryError):
    """Something unexpected happened in Skyferry itself."""
