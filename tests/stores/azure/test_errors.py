"""What Azure says, and what the worker is told."""

from __future__ import annotations

import pytest

from skyferry.clouds.errors import ErrorResponse
from skyferry.clouds.http import HttpResponse
from skyferry.errors import (
    BucketNotFound,
    ChecksumMismatch,
    ConnectionLost,
    Disposition,
    IdentityRefused,
    InvalidKey,
    ObjectNotFound,
    PermissionDenied,
    PreconditionFailed,
    SkyferryError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
    Unsupported,
    UploadGone,
    VersionChanged,
)
from skyferry.stores.azure.errors import CODES, ERRORS, parse_error

CASES = [
    (404, "BlobNotFound", ObjectNotFound, ""),
    (404, "ContainerNotFound", BucketNotFound, "create the container"),
    (409, "ContainerBeingDeleted", BucketNotFound, "create the container"),
    (404, "ResourceNotFound", BucketNotFound, "a storage account"),
    (404, "", BucketNotFound, "a storage account"),
    (412, "ConditionNotMet", PreconditionFailed, ""),
    (409, "BlobAlreadyExists", PreconditionFailed, ""),
    (412, "SourceConditionNotMet", VersionChanged, ""),
    (412, "LeaseIdMissing", StoreError, "release or break"),
    (400, "InvalidBlockList", UploadGone, ""),
    (400, "InvalidBlobOrBlock", StoreError, "another program"),
    (403, "AuthenticationFailed", IdentityRefused, "clock"),
    (401, "InvalidAuthenticationInfo", IdentityRefused, "https://storage.azure.com/"),
    (401, "", IdentityRefused, ""),
    (403, "AuthorizationPermissionMismatch", PermissionDenied, "Storage Blob Data Contributor"),
    (403, "AuthorizationFailure", PermissionDenied, "firewall"),
    (403, "KeyBasedAuthenticationNotPermitted", PermissionDenied, "use an identity"),
    (403, "KeyVaultEncryptionKeyNotFound", PermissionDenied, "key vault"),
    (409, "BlobImmutableDueToPolicy", PermissionDenied, "retention policy"),
    (409, "BlobArchived", Unsupported, "rehydrate the blob"),
    (409, "BlobBeingRehydrated", StoreError, "takes hours"),
    (409, "SnapshotsPresent", Unsupported, "delete them first"),
    (409, "InvalidBlobType", Unsupported, "append or page blob"),
    (400, "InvalidBlobTier", Unsupported, "storage class"),
    (400, "MetadataTooLarge", Unsupported, "8 KiB"),
    (400, "InvalidTags", Unsupported, "10 tags"),
    (400, "InvalidUri", InvalidKey, ""),
    (400, "Md5Mismatch", ChecksumMismatch, ""),
    (400, "Crc64Mismatch", ChecksumMismatch, ""),
    (400, "IncompleteBody", ConnectionLost, ""),
    (503, "ServerBusy", Throttled, ""),
    (429, "", Throttled, ""),
    (500, "OperationTimedOut", StoreTimeout, ""),
    (500, "InternalError", StoreUnavailable, ""),
    (502, "", StoreUnavailable, ""),
    (409, "SomethingNew", StoreError, ""),
    (418, "", StoreError, ""),
]


@pytest.mark.parametrize(("status", "code", "error", "hint"), CASES)
def test_an_answer_means_an_error_and_says_what_to_do(
    status: int, code: str, error: type[SkyferryError], hint: str
) -> None:
    found = ERRORS.translate(ErrorResponse(status, code, "words", request_id="R1"), "azure key")
    assert type(found) is error
    assert hint in found.hint
    assert str(found).startswith("azure key: words [")
    assert "request R1" in str(found)


def test_a_503_asks_for_fewer_requests_when_it_says_how_long_to_wait() -> None:
    refused = ERRORS.translate(ErrorResponse(503, "", "", retry_after=7.0), "azure")
    assert isinstance(refused, Throttled)
    assert refused.retry_after == 7.0
    assert isinstance(ERRORS.translate(ErrorResponse(503, "", ""), "azure"), StoreUnavailable)


def test_a_blob_that_comes_back_from_the_archive_is_waited_for_as_long_as_that_may_take() -> None:
    """15 hours at standard priority ("Blob rehydration from the archive tier"), and three retries unless settings say more."""
    back = ERRORS.translate(ErrorResponse(409, "BlobBeingRehydrated", ""), "azure")
    assert (back.disposition, back.outage) == (Disposition.RETRY, False)
    assert 3 * (back.retry_after or 0.0) >= 15 * 3600


def test_an_unknown_tier_is_distinguished_from_other_headers() -> None:
    said = "The value for one of the HTTP headers is not in the correct format."
    assert (
        "Hot, Cool"
        in ERRORS.translate(ErrorResponse(400, "InvalidHeaderValue", f"{said} x-ms-access-tier"), "azure").hint
    )
    assert (
        type(ERRORS.translate(ErrorResponse(400, "InvalidHeaderValue", f"{said} x-ms-version"), "azure")) is StoreError
    )


def test_what_throttles_or_is_down_is_an_outage_and_nothing_else_is() -> None:
    outages = {code for code, (error, _) in CODES.items() if error.outage}
    assert outages >= {"ServerBusy", "InternalError", "OperationTimedOut", "AuthenticationFailed"}
    assert not outages & {"BlobNotFound", "ContainerNotFound", "AuthorizationFailure", "ConditionNotMet", "Md5Mismatch"}


def test_only_an_absent_blob_is_skipped() -> None:
    assert {code for code, (error, _) in CODES.items() if error.disposition is Disposition.SKIP} == {"BlobNotFound"}


def test_the_code_is_in_a_header_or_the_document_and_the_first_line_is_for_people() -> None:
    document = (
        "\ufeff<?xml version='1.0'?><Error><Code>ServerBusy</Code><Message>Busy.\nRequestId:x\nTime:y</Message></Error>"
    )
    headers = {"x-ms-request-id": "R1", "retry-after": "3"}
    assert parse_error(HttpResponse(503, headers, document.encode())) == ErrorResponse(
        503, "ServerBusy", "Busy.", request_id="R1", retry_after=3.0
    )
    assert parse_error(HttpResponse(404, {"x-ms-error-code": "BlobNotFound"}, b"")) == ErrorResponse(
        404, "BlobNotFound", ""
    )
    assert parse_error(HttpResponse(404, {}, b"<html>")) == ErrorResponse(404, "", "")
