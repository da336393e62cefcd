"""Commands of AWS's command line, by the model of its services that the command line has, too; but without it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
from botocore import xform_name  # type: ignore[import-untyped]  # as boto3

from skyferry.testing.servers import LocalStack


class Amazon:
    """An account at LocalStack, by its number."""

    def __init__(self, server: LocalStack, account: str, region: str) -> None:
        self._session, self._server = boto3.Session(account, "any", region_name=region), server

    def client(self, service: str) -> Any:
        """Of a service, as the command line calls it."""
        service = "s3" if service == "s3api" else service
        return self._session.client(service, endpoint_url=self._server.url)

    def run(self, words: Sequence[str]) -> Any:
        """What it answers. Raises KeyError for an operation or a parameter that there is not."""
        service, command, *options = words
        client = self.client(service)
        if (service, command) == ("s3", "mb"):
            where = {"LocationConstraint": self._session.region_name}
            assert options[1:] in ([], ["--region", self._session.region_name])
            return client.create_bucket(Bucket=options[0].removeprefix("s3://"), CreateBucketConfiguration=where)
        names = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
        operation = client.meta.service_model.operation_model(names[command])
        members = {xform_name(name, "-"): name for name in operation.input_shape.members}
        members["notification-endpoint"] = members.pop("endpoint", "")  # so the command line calls it
        shapes = operation.input_shape.members
        given = {}
        for flag, value in zip(options[::2], options[1::2], strict=True):
            name = members[flag.removeprefix("--")]
            given[name] = _value(shapes[name].type_name, value)
        return getattr(client, xform_name(names[command]))(**given)


def _value(kind: str, text: str) -> Any:
    if kind == "string":
        return text
    if text.startswith(("{", "[")):
        return json.loads(text)
    return [text] if kind == "list" else dict(pair.split("=") for pair in text.split(","))
