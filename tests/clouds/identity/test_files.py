"""Secrets in files: taken up when the files change, and no longer used once they were replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from skyferry.clouds.azure import SharedKey
from skyferry.clouds.credentials import S3Credentials
from skyferry.clouds.identity import files
from skyferry.clouds.identity.build import IdentityContext, aws_credentials, azure_key
from skyferry.clouds.identity.files import FileSecret, FileWatch
from skyferry.config.identity import IdentitySettings
from skyferry.errors import ConfigError, SkyferryError
from skyferry.testing.clock import ManualClock

OLD = 1_600_000_000  # seconds since 1970: long enough ago that no other change bears the same time


def put(path: Path, text: str, at: int = OLD) -> None:
    path.write_text(text)
    os.utime(path, (at, at))


def swap(path: Path, text: str) -> None:
    """As Kubernetes does: a new file takes the name."""
    fresh = path.with_name("fresh")
    put(fresh, text)
    fresh.replace(path)


@pytest.mark.parametrize("change", [put, swap, lambda path, text: path.write_text(text)])
async def test_a_change_is_taken_up_at_the_next_look(change: Callable[[Path, str], None], tmp_path: Path) -> None:
    now, path = 0.0, tmp_path / "secret"
    put(path, "old")
    secret = FileSecret([path], path.read_text, lambda: now)
    assert await secret.get() == "old"
    change(path, "new!")
    assert await secret.get() == "old", "it is looked at once a second"
    now = 1.0
    assert await secret.get() == "new!"


async def test_two_changes_at_one_time_of_a_coarse_clock_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAUSE", 0.0)
    path = tmp_path / "secret"
    path.write_text("one")
    stamp = path.stat().st_mtime_ns
    secret = FileSecret([path], path.read_text)
    path.write_text("two")
    os.utime(path, ns=(stamp, stamp))
    assert await secret.get() == "two"


async def test_a_file_that_does_not_change_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PAUSE", 0.0)
    path, reads = tmp_path / "secret", 0
    put(path, "old")

    def read() -> str:
        nonlocal reads
        reads += 1
        return path.read_text()

    secret = FileSecret([path], read)
    assert [await secret.get() for _ in range(5)] == ["old"] * 5
    assert reads == 1


async def test_what_cannot_be_read_any_more_is_not_used_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAUSE", 0.0)
    path = tmp_path / "secret"
    put(path, "old")

    def read() -> str:
        try:
            return path.read_text()
        except OSError as error:
            raise ConfigError("gone") from error

    secret = FileSecret([path], read)
    path.unlink()
    for _ in range(2):
        with pytest.raises(ConfigError):
            await secret.get()
    put(path, "new")
    assert await secret.get() == "new"


async def test_files_that_are_not_there_change_nothing() -> None:
    watch = FileWatch([])
    assert not await watch.outdated()


async def test_a_rotated_key_of_a_store_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only the secret changes, and without a failure where the file was only touched, or is empty for a moment."""
    monkeypatch.setattr(files, "PAUSE", 0.0)
    failures: list[SkyferryError] = []
    around = IdentityContext("store", ManualClock(), {"KEY": "minio"}, failures.append)
    path = tmp_path / "secret"
    put(path, "b2xk")
    settings = IdentitySettings(kind="static", secret_file=path, key_env="KEY")
    s3, azure = aws_credentials(settings, around), azure_key(settings, around, "account")
    assert (await s3(), await azure()) == (S3Credentials("minio", "b2xk"), SharedKey("account", "b2xk"))
    path.write_text("bmV3")
    assert (await s3(), await azure()) == (S3Credentials("minio", "bmV3"), SharedKey("account", "bmV3"))
    path.touch()
    assert (await s3(), await azure()) == (S3Credentials("minio", "bmV3"), SharedKey("account", "bmV3"))
    assert failures == []
    path.write_text("")
    assert await s3() == S3Credentials("minio", "bmV3"), "the old one serves while there is none"
    assert len(failures) == 1
