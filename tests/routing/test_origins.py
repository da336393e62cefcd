"""The stores of events, and the configurations that leave them open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.pages import DOCS

from skyferry.config.load import Checked, check
from skyferry.config.settings import Settings
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider
from skyferry.routing.origins import host_of
from skyferry.routing.routes import Routes

AMAZON, OTHER, AZURE = Provider.AWS_S3, Provider.S3_COMPATIBLE, Provider.AZURE_BLOB
OUT = {"out": {"url": "gs://copies"}}
HERE, THERE = "https://s3.here.example.org", "https://s3.there.example.org:9000"
CEPH = {
    "here": {"url": "s3://photos", "endpoint": HERE, "service": "ceph"},
    "there": {"url": "s3://photos", "endpoint": THERE, "service": "ceph"},
}
MINIO = {name: {**store, "service": "minio"} for name, store in CEPH.items()}
AZURES = {"one": {"url": "az://one/photos"}, "two": {"url": "az://two/photos"}}
PARTITIONS = {"eu": {"url": "s3://photos?region=eu-west-1"}, "cn": {"url": "s3://photos?region=cn-north-1"}}
QUEUES: list[dict[str, Any]] = [
    {"name": "q1", "url": "sqs://one", "stores": "here"},
    {"name": "q2", "url": "sqs://two", "stores": ["there"]},
]


def config(stores: dict[str, Any], queues: Any = (), sources: tuple[str, ...] = ()) -> dict[str, Any]:
    routes = [{"name": f"of-{s}", "from": s, "to": "out", "key": f"{s}/{{key}}"} for s in sources or stores]
    return {"stores": stores | OUT, "routes": routes} | ({"queues": list(queues)} if queues else {})


def event(provider: Provider = OTHER, bucket: str = "photos", **source: Any) -> ObjectEvent:
    return ObjectEvent("e", Change.CREATED, ObjectRef(provider, bucket, "k", **source), 1e9, format="s3")


def store_of(data: dict[str, Any], of: ObjectEvent, queue: str = "") -> str:
    """The store that the event is of; else the account before the bucket, or the hint."""
    routes = Routes(Settings.model_validate(data))
    if found := routes.match(of, queue):
        (transfer,) = found
        assert routes.leads(transfer)
        return transfer.source_store
    why = routes.untaken(of, queue)
    return why.rules[0].rule if why.known else why.hint or why.account


AT_AMAZON = [
    ("s3://photos?region=eu-west-1", "eu-west-1", "in"),
    ("s3://photos?region=eu-west-1", "us-east-1", "us-east-1"),
    ("s3://photos?region=eu-west-1", "", "in"),
    ("s3://photos", "us-east-1", "in"),
    ("s3://photos?endpoint=https://s3.eu-west-1.amazonaws.com", "us-east-1", "us-east-1"),
    ("s3://photos?endpoint=https://s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1", "in"),
    ("s3://photos?endpoint=https://vpce-1a.s3.eu-west-1.vpce.amazonaws.com", "us-east-1", "us-east-1"),
    ("s3://photos?endpoint=https://s3.cn-north-1.amazonaws.com.cn", "us-east-1", "us-east-1"),
    ("s3://photos?service=aws&region=eu-west-1&endpoint=https://proxy.example.org", "us-east-1", "in"),
    ("s3://photos?service=minio&region=eu-west-1&endpoint=https://minio.example.org", "us-east-1", "in"),
]


@pytest.mark.parametrize(("url", "region", "store"), AT_AMAZON)
def test_an_event_of_another_region_is_of_another_bucket(url: str, region: str, store: str) -> None:
    """A region is compared if the store is at Amazon's own host and its region is known."""
    assert store_of(config({"in": {"url": url}}), event(AMAZON, region=region)) == store


AT_ENDPOINTS = [
    ({"here": MINIO["here"]}, "http://10.0.0.7:9000", "here"),
    ({"here": MINIO["here"]}, "", "here"),
    ({"here": MINIO["here"], "docs": {**MINIO["there"], "url": "s3://docs"}}, THERE, "s3.there.example.org:9000"),
    ({"here": MINIO["here"], "docs": {**MINIO["there"], "url": "s3://docs"}}, "http://10.0.0.7:9000", "here"),
    (MINIO, HERE, "here"),
    (MINIO, f"{HERE}:443/", "here"),
    (MINIO, THERE.upper(), "there"),
    (MINIO, "http://[bad", "It may be here or there"),
    (MINIO, "http://10.0.0.7:9000", "It may be here or there"),
]


@pytest.mark.parametrize(("stores", "endpoint", "store"), AT_ENDPOINTS)
def test_an_endpoint_counts_where_a_store_has_it(stores: dict[str, Any], endpoint: str, store: str) -> None:
    """A server that calls itself otherwise than we call it loses no event of the only store of its bucket's name."""
    assert store_of(config(stores), event(endpoint=endpoint)).startswith(store)


BY_QUEUE = [
    ("q1", "s3", "photos", "here"),
    ("q2", "s3", "photos", "there"),
    ("q3", "s3", "photos", "It may be here or there: set `stores`"),
    ("q2", "s3", "docs", "It may be docs: add that to `stores` of queue q2"),
    ("q3", "s3", "docs", "docs"),
    ("q1", "native", "docs", "docs"),
    ("q1", "native", "photos", "here"),
]


@pytest.mark.parametrize(("queue", "format", "bucket", "store"), BY_QUEUE)
def test_a_queue_says_whose_events_it_brings(queue: str, format: str, bucket: str, store: str) -> None:
    """Native events come through the first queue, whatever store they are of."""
    stores = CEPH | {"docs": {"url": "s3://docs", "endpoint": HERE}}
    data = config(stores, [*QUEUES, {"name": "q3", "url": "sqs://three"}])
    assert store_of(data, replace(event(bucket=bucket), format=format), queue).startswith(store)


def test_one_server_of_two_is_the_amazon_that_it_says() -> None:
    """A queue that brings none of Amazon's decides; nothing that looks like a sequencer of Amazon's counts then."""
    stores = {"amazon": {"url": "s3://photos?region=eu-west-1"}, "here": CEPH["here"]}
    of = replace(event(AMAZON), position=Position.sequencer("00AB"))
    assert store_of(config(stores), of) == "amazon"
    assert store_of(config(stores, QUEUES[:1]), of, "q1") == "here"
    assert store_of(config(stores), event(AMAZON, region="us-east-1")) == "here"
    assert store_of(config(CEPH, QUEUES[1:], ("here",)), event(AMAZON), "q2").startswith("no route reads")
    assert "stores` of queue q2" in store_of(
        config(
            {"docs": {"url": "s3://docs"}} | {"here": CEPH["here"]},
            [{"name": "q2", "url": "sqs://two", "stores": "docs"}],
        ),
        event(AMAZON),
        "q2",
    )
    (transfer,) = Routes(Settings.model_validate(config(stores, QUEUES[:1]))).match(of, "q1")
    assert (transfer.source.provider, transfer.position) == (OTHER, None)


def test_sources_with_one_bucket_name_are_distinguished_in_the_ledger() -> None:
    """By the account; a store that has its name alone needs none."""
    shared = Routes(Settings.model_validate(config(CEPH, QUEUES)))
    found = {shared.match(event(), queue)[0].source.account for queue in ("q1", "q2")}
    assert found == {"s3.here.example.org", "s3.there.example.org:9000"}
    alone = Routes(Settings.model_validate(config({"here": CEPH["here"]})))
    assert alone.match(event(account="s3.here.example.org"))[0].source.account == ""
    own = replace(event(account="s3.there.example.org:9000"), format="native")
    assert store_of(config(CEPH, QUEUES), own, "q1") == "there"


def test_a_store_that_no_route_reads_is_never_meant() -> None:
    """So a mirror under the same bucket name needs no setting."""
    assert store_of(config(CEPH, sources=("here",)), event()) == "here"
    assert store_of(config(CEPH | {"docs": {"url": "s3://docs"}}, sources=("docs",)), event()).startswith(
        "no route reads"
    )


def checked(folder: Path, data: dict[str, Any]) -> Checked:
    file = folder / "skyferry.yaml"
    file.write_text(yaml.safe_dump(data))
    return check(file, {})


ONE_QUEUE = [{"name": "q", "url": "sqs://q"}]
ALIKE = [
    (config(CEPH, ONE_QUEUE), "stores.there.url", "queue q may bring events of both"),
    (config(CEPH, QUEUES), "", ""),
    (config(CEPH, [*QUEUES, *ONE_QUEUE]), "stores.there.url", "queue q may bring events of both"),
    (config(CEPH, [*QUEUES, {"name": "own", "url": "sqlite://events.db"}]), "", ""),
    (config(CEPH, [{**QUEUES[0], "stores": ["here", "there"]}]), "stores.there.url", "queue q1"),
    (config(CEPH, ONE_QUEUE, ("here",)), "", ""),
    (config(MINIO, ONE_QUEUE), "", ""),
    (config(MINIO | {"there": CEPH["there"]}, ONE_QUEUE), "stores.there.url", "queue q may bring"),
    (config(AZURES, [{"name": "q", "url": "azq://one/q"}]), "", ""),
    (config(PARTITIONS, ONE_QUEUE), "", ""),
    (config({"a": {"url": "s3://photos"}, "b": {"url": "s3://photos?region=eu-west-1"}}), "stores.b", "same provider"),
    (config(CEPH, [{**QUEUES[0], "stores": "her"}]), "queues[0].stores", "there is no store 'her'"),
]


@pytest.mark.parametrize(("data", "where", "message"), ALIKE)
def test_stores_with_one_bucket_name_need_distinguishable_events(
    tmp_path: Path, data: dict[str, Any], where: str, message: str
) -> None:
    faults = checked(tmp_path, data).faults
    assert [str(fault.where) for fault in faults][:1] == ([where] if where else []), faults
    assert not where or message in str(faults[0])


def test_a_push_endpoint_makes_a_queue_one_that_brings_notifications(tmp_path: Path) -> None:
    data = config(CEPH, [{"name": "own", "url": "sqlite://events.db"}])
    door = {"name": "ceph", "kind": "s3", "secret_env": "SECRET"}
    (fault,) = checked(tmp_path, data | {"push": [door]}).faults
    assert "queue own may bring events of both" in str(fault)


def test_the_example_of_the_page_has_no_faults(tmp_path: Path) -> None:
    text = (DOCS / "reference" / "events.md").read_text().partition("## Matching events to stores")[2]
    found = checked(tmp_path, yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0]))
    assert (found.faults, found.warnings) == ((), ())


@pytest.mark.parametrize(
    ("url", "host"), [("https://A:443/", "a"), ("http://a:443", "a:443"), ("http://a:x", ""), ("a", ""), ("", "")]
)
def test_hosts_are_compared_without_what_means_nothing(url: str, host: str) -> None:
    assert host_of(url) == host
