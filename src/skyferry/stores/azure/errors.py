"""What an Azure answer that is no success means. Codes: "Blob Storage error codes" and "Common REST API error codes"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skyferry.clouds.http import describe_error
from skyferry.errors import (
    BucketNotFound,
    ChecksumMismatch,
    ConnectionLost,
    IdentityRefused,
    InvalidKey,
    ObjectNotFound,
    PermissionDenied,
    PreconditionFailed,
    QuotaExceeded,
    SkyferryError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
    Unsupported,
    UploadGone,
    VersionChanged,
)


@dataclass(frozen=True, slots=True)
class AzureErrorResponse:
    """What an error answer says."""

    status: int
    code: str  # x-ms-error-code, which an answer to HEAD has too; "" where something else answers in Azure's place
    message: str
    request_id: str = ""
    retry_after: float | None = None  # seconds


# Seconds between looks at a blob that comes back from the archive, which may take 15 hours: three retries outlast it.
REHYDRATION = 5 * 3600.0
ENDPOINT = "see that the endpoint is that of a storage account, and that no proxy answers in its place"
CONTAINER = "create the container, or correct its name or the endpoint"
ROLE = "give this identity the role that `skyferry policy` prints (Storage Blob Data Contributor, but for tags)"
AUDIENCE = "see that the identity's token is for https://storage.azure.com/ and of the account's tenant"
KEY = "see that the account key belongs to the account, that this machine's clock is set, and that no proxy changes requests"
NETWORK = "let this machine through the storage account's firewall, or use its private endpoint"
VAULT = "let the storage account use its key in the key vault again, or correct the encryption scope"
TIER = "map the source's storage class to Hot, Cool, Cold or Archive"
LEASE = "somebody holds a lease on it: release or break it"
KEPT = "a retention policy or legal hold keeps this blob as it is"
TAGS = "a blob may have 10 tags of letters, digits, spaces and + - . / : = _"
METADATA = "user metadata may have 8 KiB, of which Skyferry needs about 400 bytes itself"
BLOCKS = "blocks of another program wait under this key: they go when it finishes, or a week after the last"

# Code -> error, and what the operator can do about it.
CODES: Mapping[str, tuple[type[SkyferryError], str]] = {
    "BlobNotFound": (ObjectNotFound, ""),
    "ContainerNotFound": (BucketNotFound, CONTAINER),
    "ContainerBeingDeleted": (BucketNotFound, CONTAINER),
    "ContainerDisabled": (BucketNotFound, CONTAINER),
    "ResourceNotFound": (BucketNotFound, ENDPOINT),
    "ConditionNotMet": (PreconditionFailed, ""),
    "TargetConditionNotMet": (PreconditionFailed, ""),
    "BlobAlreadyExists": (PreconditionFailed, ""),
    "SourceConditionNotMet": (VersionChanged, ""),
    "InvalidBlockList": (UploadGone, ""),
    # Who we are is in doubt, and no object at fault: the work waits until that is put right.
    "AuthenticationFailed": (IdentityRefused, KEY),
    "InvalidAuthenticationInfo": (IdentityRefused, AUDIENCE),
    "NoAuthenticationInformation": (IdentityRefused, AUDIENCE),
    "InsufficientAccountPermissions": (PermissionDenied, ROLE),
    "AuthorizationPermissionMismatch": (PermissionDenied, ROLE),
    "AuthorizationFailure": (PermissionDenied, f"{ROLE}; or {NETWORK}"),
    "AuthorizationSourceIPMismatch": (PermissionDenied, NETWORK),
    "AuthorizationProtocolMismatch": (PermissionDenied, "use an https endpoint"),
    "KeyBasedAuthenticationNotPermitted": (PermissionDenied, "the account takes no keys: use an identity"),
    "PublicAccessNotPermitted": (PermissionDenied, "the account serves nobody without credentials"),
    "AccountIsDisabled": (PermissionDenied, "the storage account is disabled"),
    "KeyVaultEncryptionKeyNotFound": (PermissionDenied, VAULT),
    "KeyVaultAccessTokenCannotBeAcquired": (PermissionDenied, VAULT),
    "KeyVaultVaultNotFound": (PermissionDenied, VAULT),
    "BlobUsesCustomerSpecifiedEncryption": (PermissionDenied, "the blob is encrypted with a key of its writer's"),
    "BlobImmutableDueToPolicy": (PermissionDenied, KEPT),
    "BlobIsSealed": (PermissionDenied, KEPT),
    "BlobArchived": (Unsupported, "rehydrate the blob (set its tier to Hot, Cool or Cold), then redrive"),
    "BlobBeingRehydrated": (StoreError, "the blob comes back from the archive, which takes hours"),
    "SnapshotsPresent": (Unsupported, "the blob has snapshots, which would go with it: delete them first"),
    "InvalidBlobType": (Unsupported, "the key holds an append or page blob: delete it first"),
    "InvalidBlobTier": (Unsupported, TIER),
    "AccessTierNotSupportedForBlobType": (Unsupported, TIER),
    "FeatureNotSupported": (Unsupported, "the account does not have this: is its namespace hierarchical?"),
    "UnsupportedHeader": (Unsupported, ""),
    "MetadataTooLarge": (Unsupported, METADATA),
    "InvalidMetadata": (Unsupported, METADATA),
    "InvalidTags": (Unsupported, TAGS),
    "TagsTooLarge": (Unsupported, TAGS),
    "EmptyTagName": (Unsupported, TAGS),
    "DuplicateTagNames": (Unsupported, TAGS),
    "RequestBodyTooLarge": (Unsupported, ""),
    "RequestEntityTooLarge": (Unsupported, ""),
    "InvalidUri": (InvalidKey, ""),
    "InvalidResourceName": (InvalidKey, ""),
    "PathConflict": (InvalidKey, "the namespace is hierarchical, and the key runs through another blob"),
    "Md5Mismatch": (ChecksumMismatch, ""),
    "Crc64Mismatch": (ChecksumMismatch, ""),
    "InvalidMd5": (ChecksumMismatch, ""),
    "IncompleteBody": (ConnectionLost, ""),
    "LeaseIdMissing": (StoreError, LEASE),
    "LeaseIdMismatchWithBlobOperation": (StoreError, LEASE),
    "LeaseIdMissingWithContainerOperation": (StoreError, LEASE),
    "InvalidBlobOrBlock": (StoreError, BLOCKS),
    "BlockCountExceedsLimit": (StoreError, BLOCKS),
    "ServerBusy": (Throttled, ""),
    "OperationTimedOut": (StoreTimeout, ""),
    "InternalError": (StoreUnavailable, ""),
    "AccountBeingCreated": (StoreUnavailable, ""),
    "WriteOperationsLimitExceeded": (QuotaExceeded, ""),
}

# Where there is no code, or one that is not above.
STATUS: Mapping[int, type[SkyferryError]] = {
    401: IdentityRefused,
    403: PermissionDenied,
    404: BucketNotFound,  # never an object: what does not answer like Azure must not look like deletes
    408: StoreTimeout,
    412: PreconditionFailed,
    429: Throttled,
    501: Unsupported,
    507: QuotaExceeded,
}


def translate_error(error: AzureErrorResponse, where: str) -> SkyferryError:
    """The error to raise. `where` names the store and the key."""
    fallback = STATUS.get(error.status, StoreUnavailable if error.status >= 500 else StoreError)
    kind, hint = CODES.get(error.code, (fallback, ENDPOINT if fallback is BucketNotFound else ""))
    if error.code == "InvalidHeaderValue" and "x-ms-access-tier" in error.message:
        kind, hint = Unsupported, TIER
    if error.code == "CannotVerifyCopySource" and error.status == 404:
        kind, hint = VersionChanged, ""
    if kind is StoreUnavailable and error.status == 503 and error.retry_after is not None:
        kind = Throttled
    wait = REHYDRATION if error.code == "BlobBeingRehydrated" else error.retry_after
    return kind(
        describe_error(error.message.strip().partition("\n")[0], error.code, error.status, error.request_id),
        where=where,
        hint=hint,
        retry_after=wait,
    )
