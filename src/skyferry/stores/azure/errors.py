"""Translation of Azure error responses. Codes: "Blob Storage error codes" and "Common REST API error codes"."""

from __future__ import annotations

from collections.abc import Mapping

from skyferry.clouds.errors import STATUSES, ErrorResponse, ErrorTable, Meaning, parse_error_document, read_delay
from skyferry.clouds.http import HttpResponse
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

# Seconds between attempts while a blob is rehydrated from the archive. It takes up to 15 hours: three retries suffice.
REHYDRATION = 5 * 3600.0
ENDPOINT = "check that the endpoint is that of a storage account and that no proxy answers instead"
CONTAINER = "create the container, or correct its name or the endpoint"
ROLE = "give this identity the role that `skyferry policy` prints (Storage Blob Data Contributor, but for tags)"
AUDIENCE = "check that the identity's token is for https://storage.azure.com/ and of the account's tenant"
KEY = "check that the account key belongs to the account, that this machine's clock is set, and that no proxy changes requests"
NETWORK = "let this machine through the storage account's firewall, or use its private endpoint"
VAULT = "let the storage account use its key in the key vault again, or correct the encryption scope"
TIER = "map the source's storage class to Hot, Cool, Cold or Archive"
LEASE = "release or break the lease on the blob or container"
KEPT = "remove the blob's legal hold, or wait for the end of its retention policy"
TAGS = "use at most 10 tags of letters, digits, spaces and + - . / : = _, or set `unfit.tags` of the route (--unfit tags=…)"
METADATA = "shorten the user metadata to 8 KiB, of which Skyferry needs about 400 bytes, or set `unfit.metadata: drop`"
BLOCKS = "blocks of another program wait under this key: let it finish, or wait a week after its last block"

# Code -> error, and a hint for the operator.
CODES: Mapping[str, Meaning] = {
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
    # The identity is at fault, not the object: work waits until the operator corrects it.
    "AuthenticationFailed": (IdentityRefused, KEY),
    "InvalidAuthenticationInfo": (IdentityRefused, AUDIENCE),
    "NoAuthenticationInformation": (IdentityRefused, AUDIENCE),
    "InsufficientAccountPermissions": (PermissionDenied, ROLE),
    "AuthorizationPermissionMismatch": (PermissionDenied, ROLE),
    "AuthorizationFailure": (PermissionDenied, f"{ROLE}; or {NETWORK}"),
    "AuthorizationSourceIPMismatch": (PermissionDenied, NETWORK),
    "AuthorizationProtocolMismatch": (PermissionDenied, "use an https endpoint"),
    "KeyBasedAuthenticationNotPermitted": (PermissionDenied, "use an identity: the account accepts no keys"),
    "PublicAccessNotPermitted": (PermissionDenied, "configure an identity: the account refuses anonymous requests"),
    "AccountIsDisabled": (PermissionDenied, "enable the storage account"),
    "KeyVaultEncryptionKeyNotFound": (PermissionDenied, VAULT),
    "KeyVaultAccessTokenCannotBeAcquired": (PermissionDenied, VAULT),
    "KeyVaultVaultNotFound": (PermissionDenied, VAULT),
    "BlobUsesCustomerSpecifiedEncryption": (
        PermissionDenied,
        "decrypt the blob first: it is encrypted with a key of its writer's",
    ),
    "BlobImmutableDueToPolicy": (PermissionDenied, KEPT),
    "BlobIsSealed": (PermissionDenied, KEPT),
    "BlobArchived": (Unsupported, "rehydrate the blob (set its tier to Hot, Cool or Cold), then redrive"),
    "BlobBeingRehydrated": (StoreError, "wait: the blob is rehydrated from the archive, which takes hours"),
    "SnapshotsPresent": (Unsupported, "the blob has snapshots, which would be deleted with it: delete them first"),
    "InvalidBlobType": (Unsupported, "the key holds an append or page blob: delete it first"),
    "InvalidBlobTier": (Unsupported, TIER),
    "AccessTierNotSupportedForBlobType": (Unsupported, TIER),
    "FeatureNotSupported": (Unsupported, "the account lacks this feature: check whether its namespace is hierarchical"),
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
    "PathConflict": (
        InvalidKey,
        "rename the object: in a hierarchical namespace, another blob is a folder of this key",
    ),
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


def _refine(error: ErrorResponse, meaning: Meaning) -> Meaning:
    """Find what the message or the status adds to a vague code."""
    if error.code == "InvalidHeaderValue" and "x-ms-access-tier" in error.message:
        return Unsupported, TIER
    if error.code == "CannotVerifyCopySource" and error.status == 404:
        return VersionChanged, ""
    return meaning


ERRORS = ErrorTable(
    CODES, STATUSES | {507: (QuotaExceeded, "")}, ENDPOINT, _refine, waits={"BlobBeingRehydrated": REHYDRATION}
)


def parse_error(answer: HttpResponse) -> ErrorResponse:
    """Parse an error response. The answer to a HEAD has the code in a header, and nothing else."""
    document = parse_error_document(answer.body)
    detail = document.findtext("HeaderName", "")
    return ErrorResponse(
        status=answer.status,
        code=answer.headers.get("x-ms-error-code", "") or document.findtext("Code", ""),
        message=f"{document.findtext('Message', '').partition(chr(10))[0]} {detail}".strip(),
        request_id=answer.headers.get("x-ms-request-id", ""),
        retry_after=read_delay(answer),
        tries=answer.tries,
    )


def translate_error(answer: HttpResponse, where: str) -> SkyferryError:
    """Return the error to raise. `where` names the store and the key."""
    return ERRORS.translate(parse_error(answer), where)
