"""The URLs that name stores, queues and ledgers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skyferry.config.settings import QueueSettings, SimulatorSettings, StoreSettings
from skyferry.config.urls import LedgerUrl, QueueUrl, StoreUrl, resolve_queue, resolve_store
from skyferry.model import Provider
from skyferry.stores.s3.services import SERVICES

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
    assert (resolve_store(StoreSettings(url=text)).address[0], url.bucket, url.path(WORKSPACE)) == (
        provider,
        bucket,
        Path(path),
    )


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
        (
            "s4://bucket",
            r"'s4://bucket' is not a known store URL: .*s3://BUCKET or .* or file://FOLDER or sim://FOLDER or memory://NAME",
        ),
        ("source", "'source' is not a known store URL: use file://source for a folder or s3://BUCKET"),
        ("/srv/data", "use file:///srv/data for a folder"),
        ("s3:/bucket", "'s3:/bucket' is not a known store URL: use s3://BUCKET$"),
        ("S3://bucket", "use s3://BUCKET$"),
        ("s3://b\u00fccket", r"'s3://b\u00fccket' has '\u00fc' \(\\xfc\), which no such name has"),
        ("file://", "has no location: use file://FOLDER"),
        ("file:///", "has no location"),
        ("file://a%00b", "has no location"),
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
    with pytest.raises(ValueError, match="not a known queue URL"):
        QueueUrl.parse("file://queue.db")
    with pytest.raises(ValueError, match="not a known ledger URL"):
        LedgerUrl.parse("mysql://x")


def stored(url: str, **given: Any) -> StoreSettings:
    return StoreSettings(url=url, **given)


@pytest.mark.parametrize(
    ("store", "known_as"),
    [
        (stored("s3://photos"), (Provider.AWS_S3, "photos")),
        (stored("s3://photos/"), (Provider.AWS_S3, "photos")),
        (stored("s3://photos", bucket="other"), (Provider.AWS_S3, "other")),
        (stored("s3://photos?endpoint=https://s3.eu-west-1.amazonaws.com"), (Provider.AWS_S3, "photos")),
        (stored("s3://photos?endpoint=https://minio.example.org"), (Provider.S3_COMPATIBLE, "photos")),
        (stored("s3://photos", service="ceph"), (Provider.S3_COMPATIBLE, "photos")),
        (stored("gs://photos"), (Provider.GCP_GCS, "photos")),
        (stored("az://account/photos"), (Provider.AZURE_BLOB, "photos")),
        (stored("az://photos", endpoint="https://account.blob.core.windows.net"), (Provider.AZURE_BLOB, "photos")),
    ],
)
def test_a_cloud_url_names_provider_and_bucket(store: StoreSettings, known_as: tuple[Provider, str]) -> None:
    assert resolve_store(store).address == known_as


@pytest.mark.parametrize(
    ("endpoint", "service"),
    [
        ("", "aws"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "aws"),
        ("https://0a1b.r2.cloudflarestorage.com", "r2"),
        ("https://s3.us-west-004.backblazeb2.com", "b2"),
        ("https://storage.googleapis.com", "gcs-interop"),
        ("https://notamazonaws.com", "other"),
        ("http://[::1]:9000", "other"),
    ],
)
def test_the_host_says_whose_s3_it_is(endpoint: str, service: str) -> None:
    assert resolve_store(stored("s3://b", endpoint=endpoint)).settings.service == service


def test_every_service_of_the_adapter_may_be_named() -> None:
    assert StoreSettings.find_kinds()["service"].title == " or ".join(f"`{service}`" for service in SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_store_of_a_service_can_do_what_the_adapter_can(service: str) -> None:
    profile, row = resolve_store(stored("s3://b", service=service)).profile, SERVICES[service]
    assert (profile.tags, profile.exact_deletes) == (row.tags, row.delete_exact)


def test_a_url_is_parsed_once() -> None:
    store = stored("s3://photos?region=eu-west-1")
    assert resolve_store(store) is resolve_store(stored("s3://photos?region=eu-west-1"))
    assert resolve_store(store.model_copy(update={"region": "eu-west-2"})) is not resolve_store(store)


@pytest.mark.parametrize(
    ("url", "endpoint", "account"),
    [
        ("az://account/box", "", "account"),
        ("az://box", "https://mine.blob.core.windows.net", "mine"),
        ("az://box", "http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1"),
        ("az://other/box", "https://proxy.example.org", "other"),
        ("az://box", "https://proxy.example.org", "proxy"),
    ],
)
def test_the_storage_account_is_that_of_the_url_or_of_the_endpoint(url: str, endpoint: str, account: str) -> None:
    assert resolve_store(stored(url, endpoint=endpoint)).account == account
    queue = QueueSettings(name="q", url=f"azq{url.removeprefix('az')}", endpoint=endpoint)
    assert resolve_queue(queue).account == account


def test_checking_settings_imports_no_adapter_and_no_sdk() -> None:
    """The rows of schemes lie beside the adapters, and import them only when they open one."""
    code = "import sys, skyferry.config.load; print(*sorted(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    adapters = re.compile(r"skyferry\.(stores|queues|ledgers)\.(\w+\.)?(store|queue|ledger|client|memory|simulator)")
    assert "skyferry.stores.s3.scheme" in loaded
    assert [name for name in loaded if adapters.fullmatch(name)] == []
    assert not loaded & {"aiohttp", "botocore", "google.auth", "azure.identity", "sqlite3", "awscrt", "skyferry.ports"}


def test_options_of_the_url_override_the_settings() -> None:
    store = resolve_store(
        stored("s3://b?region=eu-west-1&identity=static", region="x", identity={"secret_file": "s"})
    ).settings
    assert (store.region, store.identity.kind, store.identity.secret_file) == ("eu-west-1", "static", Path("s"))


def test_an_azure_account_has_its_endpoint() -> None:
    assert resolve_store(stored("az://account/box")).settings.endpoint == "https://account.blob.core.windows.net"
    with pytest.raises(ValueError, match="needs the account"):
        resolve_store(stored("az://box"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3://photos/2026/", "names more than s3://BUCKET; put a prefix into the filter"),
        ("az://account/box/below", "names more than az://ACCOUNT/CONTAINER"),
        ("s3://AKIA:hunter2@photos", "must not contain credentials"),
        ("s3://photos?secret_key=hunter2", "remove the secret from the URL"),
        ("gs://photos?endpiont=x", "did you mean 'endpoint'"),
        ("ftp://me:hunter2@host/", "not a known store URL"),
    ],
)
def test_a_cloud_url_that_cannot_work_shows_no_secret(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        StoreUrl.parse(text)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (LedgerUrl, "postgres://h/d", "'postgres://h/d' is not a known ledger URL: use postgresql://HOST/DATABASE"),
        (QueueUrl, "sqllite://queue.db", "'sqllite://queue.db' is not a known queue URL: use sqlite://FILE"),
        (LedgerUrl, "'redis://u@h/l'", "redis://***@h/l is in quotes that are part of it: remove them"),
        (LedgerUrl, "redis://h/l ", "'redis://h/l ' has spaces around it: remove them"),
        (QueueUrl, " nats://h/s/c", "' nats://h/s/c' is not a known queue URL: use nats://HOST/STREAM/CONSUMER"),
    ],
)
def test_a_url_that_was_mistyped_says_what_to_type(kind: Any, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind.parse(text)


@pytest.mark.parametrize("kind", [LedgerUrl, QueueUrl])
@pytest.mark.parametrize("text", ["sqlite://me:hunter2@h/l.db", "sqlite://me@h", "sqlite://me@h:5432/l.db?x=y"])
def test_a_file_has_neither_host_nor_user(kind: Any, text: str) -> None:
    """Else a ledger that was meant for a server would be a new file in the workspace."""
    with pytest.raises(
        ValueError, match=r"\*\*\*@h.* has a user, but it names a file .*, or the URL of a server"
    ) as refused:
        kind.parse(text)
    assert "hunter2" not in str(refused.value)
    assert kind.parse("sqlite://me%40h/l.db").path(WORKSPACE) == Path("/w/me@h/l.db")
    assert kind.parse("sqlite:///srv/me@h/l.db").path(WORKSPACE) == Path("/srv/me@h/l.db")


@pytest.mark.parametrize(
    "password", ["hunter2", "hun/ter2", "hun?ter2", "hun@ter2", "hun:ter2/x@", "hun#ter2", "12a/hunter2"]
)
@pytest.mark.parametrize(
    "form", ["postgresql://me:{}@h/d", "redis://me:{}@h/d", "postgres://me:{}@h/d", "postgresql:me:{}@h/d"]
)
def test_a_password_in_the_url_of_a_server_is_never_shown(form: str, password: str) -> None:
    """Also one with characters that end a part of a URL, as base64 and generators have them."""
    for kind, text in ((LedgerUrl, form.format(password)), (QueueUrl, form.format(password) + "/q")):
        with pytest.raises(ValueError, match=r"must not contain a password|not a known") as refused:
            kind.parse(text)
        assert "ter2" not in str(refused.value)
        assert "hun" not in str(refused.value)


@pytest.mark.parametrize(
    "form", ["postgresql://me:{}@h/d/e", "redis://me:{}@h/d/e", "postgres://me:{}@h/d", "s3:me:{}@h"]
)
@pytest.mark.parametrize("password", ["1/hunter2", "12345/hunter2"])
def test_a_password_that_begins_like_a_port_is_not_shown(form: str, password: str) -> None:
    """The URL is refused for another reason."""
    for kind in (LedgerUrl, QueueUrl):
        with pytest.raises(ValueError, match=r"names more than|not a known") as refused:
            kind.parse(form.format(password))
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["gs://me:a?hunter2@b", "gs://me:a/hunter2@b"])
def test_a_password_in_the_url_of_a_cloud_is_not_shown_as_an_option(text: str) -> None:
    with pytest.raises(ValueError, match="must not contain credentials") as refused:
        StoreUrl.parse(text)
    assert "hunter2" not in str(refused.value)


def test_the_name_of_a_folder_may_end_with_a_space() -> None:
    assert StoreUrl.parse("file://a ").path(WORKSPACE) == Path("/w/a ")
