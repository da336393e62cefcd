"""A service is known by a mark that no other sends; what it only claims is not relied on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from skyferry.config.settings import Settings
from skyferry.config.urls import resolve_store
from skyferry.errors import PreconditionFailed
from skyferry.model import Attributes, Checksums
from skyferry.ports import Precondition
from skyferry.ports.inspection import Unknown
from skyferry.records import Record
from skyferry.stores.s3.client import S3Options
from skyferry.stores.s3.detection import claims_minio, detect_service
from skyferry.testing.servers import LocalStack, RadosGateway
from skyferry.testing.servers.s3 import S3Place
from skyferry.wiring import Opener
from skyferry.wiring.endpoints import identify_services

CEPH = "tx00000e210accde142d5eb-006b0b556e-1017-default"


@pytest.mark.parametrize(
    ("headers", "service"),
    [
        ({"x-localstack": "true", "Server": "hypercorn-h11"}, "localstack"),
        ({"X-RGW-Object-Count": "0"}, "ceph"),
        ({"x-amz-request-id": CEPH}, "ceph"),
        ({"x-amz-request-id": "txnotone"}, ""),
        ({"x-amz-request-id": "C3D13FE58DE4C810", "Server": "AmazonS3"}, ""),
        ({"x-amz-request-id": "A1", "x-amz-id-2": "QTFBMUExQTE=", "Server": "AmazonS3"}, "rclone"),
        ({"x-amz-request-id": "A1", "x-amz-id-2": "QTFBMUExQTI="}, ""),
        ({"x-amz-id-2": ""}, ""),
        ({"Server": "MinIO"}, ""),
        ({}, ""),
    ],
)
def test_only_a_mark_counts(headers: Mapping[str, str], service: str) -> None:
    assert detect_service(headers) == service


def test_minio_is_a_claim() -> None:
    assert claims_minio({"server": "MinIO"})
    assert claims_minio({"server": "MinIO/RELEASE.2022-01-01"})
    assert not claims_minio({"server": "AmazonS3"})


class Place:
    """Stores at one endpoint, which routes use."""

    def __init__(self, url: str, bucket: str, access_key: str, secret_key: str) -> None:
        self.env = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
        self.at, self.bucket, self.heard = url, bucket, list[Record]()

    def on(self, record: Record) -> None:
        self.heard.append(record)

    async def identify(self, **store: Any) -> str:
        """The service of a store after the start."""
        there = {"url": f"s3://{self.bucket}?endpoint={self.at}", "identity": {"kind": "static"}} | store
        stores = {"here": {"url": "memory://here"}, "there": there}
        routes = [{"name": "r", "from": "here", "to": "there"}]
        opener = Opener(Settings.model_validate({"stores": stores, "routes": routes}), env=self.env)
        found = await identify_services(opener, self)
        await opener.close()
        return resolve_store(found.settings.stores["there"]).settings.service


@pytest.fixture
async def localstack_place(localstack_server: LocalStack) -> Place:
    place = S3Place(S3Options("localstack", localstack_server.url))
    return Place(localstack_server.url, await place.bucket(), "any", "any")


async def test_localstack_needs_no_setting(localstack_place: Place) -> None:
    assert await localstack_place.identify() == "localstack"
    assert [(r.event, r.store, r.message) for r in localstack_place.heard] == [
        ("store.identified", "there", "localstack")
    ]


async def test_a_setting_is_never_overruled(localstack_place: Place) -> None:
    for chosen in ("other", "minio", "aws"):
        assert await localstack_place.identify(service=chosen) == chosen
        url = f"s3://{localstack_place.bucket}?endpoint={localstack_place.at}&service={chosen}"
        assert await localstack_place.identify(url=url) == chosen
    assert localstack_place.heard == []


async def test_ceph_needs_no_setting(radosgw_server: RadosGateway) -> None:
    """Not even with keys that are wrong. Then its bucket may keep versions."""
    keys = radosgw_server.access_key, radosgw_server.secret_key
    place = S3Place(S3Options("ceph", radosgw_server.url), *keys)
    assert await Place(radosgw_server.url, await place.bucket(), *keys).identify() == "ceph"
    assert await Place(radosgw_server.url, "missing-bucket", "wrong", "wrong").identify() == "ceph-versioned"


@pytest.mark.parametrize("versioned", [False, True])
async def test_ceph_is_relied_on_for_less_in_a_bucket_that_keeps_versions(versioned: bool, radosgw_s3: S3Place) -> None:
    """Also if the settings name the service. A write that must not replace an object would replace it there."""
    bucket = await radosgw_s3.bucket(versioned=versioned)
    at = radosgw_s3.options.endpoint
    place = Place(at, bucket, radosgw_s3.access_key, radosgw_s3.secret_key)
    service = "ceph-versioned" if versioned else "ceph"
    assert await place.identify() == service
    place.heard.clear()
    assert await place.identify(service="ceph") == service
    assert await place.identify(url=f"s3://{bucket}?service=ceph&endpoint={at}") == service
    assert [record.message for record in place.heard] == [service, service] * versioned
    assert S3Options(service).row.traits().create_only is not versioned
    store = replace(radosgw_s3, options=replace(radosgw_s3.options, service="ceph")).store(bucket)
    await store.write("k", b"1", Attributes(), Checksums())
    with nullcontext() if versioned else pytest.raises(PreconditionFailed):
        await store.write("k", b"2", Attributes(), Checksums(), Precondition(create_only=True))
    assert (await store.inspect()).wrong == ()
    await store.close()


async def test_an_endpoint_that_is_down_is_relied_on_for_nothing() -> None:
    """Nor for what it does in a bucket that keeps no versions."""
    place = Place("http://127.0.0.1:9", "bucket", "any", "any")
    assert await place.identify() == "other"
    assert await place.identify(service="ceph") == "ceph-versioned"


async def test_the_inspection_compares_it_with_the_settings(localstack_place: Place) -> None:
    found = {}
    for service in ("localstack", "minio", "other"):
        place = S3Place(S3Options(service, localstack_place.at))
        store = place.store(localstack_place.bucket)
        found[service] = await store.inspect()
        await store.close()
    assert {name: facts.service for name, facts in found.items()} == {
        "localstack": "localstack",
        "minio": "localstack",
        "other": "localstack",
    }
    assert [wrong.what for wrong in found["minio"].wrong] == [
        "the server is localstack, but `service` of the store is minio"
    ]
    assert not found["localstack"].wrong
    assert not found["other"].wrong
    assert not isinstance(found["other"].service, Unknown)
