"""Signatures of requests to AWS (AWS Signature Version 4), made by Amazon's awscrt."""

from __future__ import annotations

from collections.abc import Mapping

from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignatureType,
    AwsSignedBodyHeaderType,
    AwsSigningAlgorithm,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest

from skyferry.clouds.credentials import S3Credentials

EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken")


class Signer:
    """Signs requests to one service in one region."""

    def __init__(self, service: str, region: str) -> None:
        self._service, self._region = service, region
        self._last: tuple[S3Credentials, AwsCredentialsProvider] | None = None

    def sign(
        self, credentials: S3Credentials, method: str, path: str, headers: Mapping[str, str], sha256: str
    ) -> dict[str, str]:
        """Return the headers with date and signature; `sha256` is that of the body, hexadecimal."""
        if self._last is None or self._last[0] != credentials:
            secrets = (credentials.access_key, credentials.secret_key, credentials.token or None)
            self._last = credentials, AwsCredentialsProvider.new_static(*secrets)
        config = AwsSigningConfig(
            algorithm=AwsSigningAlgorithm.V4,
            signature_type=AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=self._last[1],
            region=self._region,
            service=self._service,
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=sha256,
            signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )
        request = HttpRequest(method, path, HttpHeaders(list(headers.items())))
        return dict(aws_sign_request(request, config).result().headers)  # immediate: the credentials are known
