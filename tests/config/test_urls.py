"""The URLs that name stores, queues and ledgers."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyferry.config.settings import SimulatorSettings
from skyferry.config.urls import LedgerUrl, QueueUrl, StoreUrl
from skyferry.model import Provider

WORKSPACE = Path("/w")


@pytest.mark.parametrize(
    ("text", "provider", "bucket", "path"),
    [
        ("file://source", Provider.FILE, "source", "/w/source"),
        ("file:///srv/data/", Provider.FILE, "data", "/srv/data"),
        ("file://a/b%20c", Provider.FILE, "b c", "/w/a/b c"),
        ("sim://destination?seed=7", Provider.FILE, "destination", "/w/destination"),
        ("memory://box", Provider.MEMORY, "box", "/w/box"),
        ("file://..", Provider.FILE, "", "/w/.."),
        ("file://.", Provider.FILE, "", "/w"),
    ],
)
def test_a_store_url_names_provider_bucket_and_folder(text: str, provider: Provider, bucket: str, path: str) -> None:
    url = StoreUrl.parse(text)
    assert (url.provider, url.bucket, url.path(WORKSPACE)) == (provider, bucket, Path(path))


def test_the_query_of_a_simulator_overrides_its_settings() -> None:
    url = StoreUrl.parse("sim://d?throttle=0.1&seed=7&latency=20ms&outages=1s-2s,5s-9s")
    merged = url.simulator(SimulatorSettings(seed=1, reset=0.5))
    assert merged == SimulatorSettings(seed=7, reset=0.5, throttle=0.1, latency=0.02, outages=("1s-2s", "5s-9s"))


def test_a_bad_value_in_the_query_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="throttle"):
        StoreUrl.parse("sim://d?throttle=2").simulator(SimulatorSettings())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s4://bucket", r"'s4://bucket' is no store URL .*file://FOLDER or sim://FOLDER or memory://NAME"),
        ("source", "no store URL"),
        ("file://", "does not say where: file://FOLDER"),
        ("file:///", "does not say where"),
        ("file://a%00b", "does not say where"),
        ("file://a?seed=1", "file:// has no option 'seed'"),
        ("sim://a?trottle=1", "did you mean 'throttle'"),
    ],
)
def test_a_store_url_that_cannot_work_says_what_would(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StoreUrl.parse(text)


def test_queue_and_ledger_urls_name_a_file() -> None:
    assert QueueUrl.parse("sqlite://queue.db").path(WORKSPACE) == Path("/w/queue.db")
    assert LedgerUrl.parse("sqlite:///var/ledger.db").path(WORKSPACE) == Path("/var/ledger.db")
    with pytest.raises(ValueError, match="no queue URL"):
        QueueUrl.parse("file://queue.db")
    with pytest.raises(ValueError, match="no ledger URL"):
        LedgerUrl.parse("redis://x")
