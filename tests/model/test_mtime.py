"""Times of files as others write them."""

from __future__ import annotations

import pytest

from skyferry.model.mtime import format_mtime, parse_mtime


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"mtime": "1577934245"}, 1577934245 * 10**9),
        ({"mtime": "1577934245.1"}, 1577934245_100000000),
        ({"mtime": "1577934245.123456789"}, 1577934245_123456789),
        ({"mtime": "2020-01-02T03:04:05.5Z"}, 1577934245_500000000),
        ({"mtime": "2020-01-02T04:04:05+01:00"}, 1577934245 * 10**9),
        ({"goog-reserved-file-mtime": "1577934245"}, 1577934245 * 10**9),
        ({"mtime": "yesterday", "goog-reserved-file-mtime": "5"}, 5 * 10**9),
        ({"mtime": "2020-02-30T00:00:00Z"}, None),
        ({"mtime": "1960-01-01T00:00:00Z"}, None),
        ({"mtime": "-1"}, None),
        ({"mtime": "1e9"}, None),
        ({"mtime": "9" * 40}, None),
        ({"mtime": "١٢٣"}, None),
        ({}, None),
    ],
)
def test_what_is_read(metadata: dict[str, str], expected: int | None) -> None:
    """rclone's seconds at S3, its RFC 3339 elsewhere, s3fs's and gsutil's; other text is no time."""
    assert parse_mtime(metadata) == expected


@pytest.mark.parametrize("nanoseconds", [0, 1, 10**9, 1577934245_123456789, 1577934245_120000000])
def test_what_is_written_is_read(nanoseconds: int) -> None:
    assert parse_mtime({"mtime": format_mtime(nanoseconds)}) == nanoseconds
