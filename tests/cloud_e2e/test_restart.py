"""A large object goes on where a killed process has stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.restart import Cut, Restart, fill
from tests.cloud_e2e.buckets import Clouds, GcsBucket, S3Bucket

MIB = 2**20


@pytest.mark.parametrize(("one", "other"), [("s3", "gcs"), ("gcs", "s3")])
async def test_a_killed_copy_sends_again_what_was_in_flight_only(
    clouds: Clouds, tmp_path: Path, one: str, other: str
) -> None:
    """`kill -9` at 60 %: at most two parts more than the object are sent, it is identical, and no upload is left over."""
    source, destination = clouds.bucket(one), clouds.bucket(other)
    assert isinstance(source, S3Bucket | GcsBucket)
    assert isinstance(destination, S3Bucket | GcsBucket)
    fill(tmp_path / "content", 48 * MIB + 5)
    cut, server = Cut(5 * MIB, 2), clouds.gcs if other == "gcs" else clouds.s3
    seen = await Restart(tmp_path, source, destination, cut).run(server, tmp_path / "content")
    assert (seen.code, seen.same, seen.orphans) == (0, True, 0)
    assert 48 * 0.6 * MIB <= seen.killed_at < 48 * MIB
    assert seen.again <= 2 * 5 * MIB + MIB


async def test_a_killed_resumable_upload_sends_again_the_part_in_flight_only(clouds: Clouds, tmp_path: Path) -> None:
    """To a bucket of Cloud Storage that lets nothing be deleted: nothing else is left in it."""
    source, destination = clouds.bucket("s3"), clouds.bucket("gcs")
    assert isinstance(source, S3Bucket)
    assert isinstance(destination, GcsBucket)
    destination.keep(86400)
    fill(tmp_path / "content", 48 * MIB + 5)
    seen = await Restart(tmp_path, source, destination, Cut(5 * MIB, 2)).run(clouds.gcs, tmp_path / "content")
    assert (seen.code, seen.same, seen.orphans) == (0, True, 0)
    assert 48 * 0.6 * MIB <= seen.killed_at < 48 * MIB
    assert seen.again <= 5 * MIB + MIB // 16
