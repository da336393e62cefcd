"""A provider of Terraform that knows only the schemas of another one, for `terraform validate` and `terraform test`.

Terraform attaches to it by $TF_REATTACH_PROVIDERS, and speaks version 6 of its plugin protocol (docs/plugin-protocol in Terraform's
repository). The few messages that it needs are encoded here, because the protocol has no package in Python.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # no stubs are published with it

SCHEMAS = Path(__file__).with_name("schemas.json")
SOURCE = "registry.terraform.io/hashicorp/{}"
FLAGS = {"required": 4, "optional": 5, "computed": 6}
NESTING = {"struct": 1, "list": 2, "set": 3}
KINDS = {"provider": 1, "resource": 2, "data": 3}
Block = dict[str, Any]


def _varint(value: int) -> bytes:
    rest = [value & 127]
    while value := value >> 7:
        rest[-1] |= 128
        rest.append(value & 127)
    return bytes(rest)


def _field(number: int, value: bytes | str | int) -> bytes:
    """Encode one field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    body = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _schema(block: Block) -> bytes:
    return _field(2, _block(block))


def _block(block: Block) -> bytes:
    attributes = b"".join(_field(2, _attribute(name, *of)) for name, of in block["attributes"].items())
    return attributes + b"".join(_field(3, _nested(name, inner)) for name, inner in block["blocks"].items())


def _attribute(name: str, cty: object, *flags: str) -> bytes:
    return _field(1, name) + _field(2, json.dumps(cty)) + b"".join(_field(FLAGS[flag], 1) for flag in flags)


def _nested(name: str, block: Block) -> bytes:
    least = _field(4, 1) if "required" in block["is"] and block["kind"] != "struct" else b""
    return _field(1, name) + _field(2, _block(block)) + _field(3, NESTING[block["kind"]]) + least


def encode(provider: str) -> bytes:
    """Return the answer to GetProviderSchema."""
    answer = b""
    for place, block in json.loads(SCHEMAS.read_text("utf-8")).items():
        name, _, kind, type_ = place.split()
        if name == provider:
            entry = _schema(block) if kind == "provider" else _field(1, type_) + _field(2, _schema(block))
            answer += _field(KINDS[kind], entry)
    return answer


class _Answers(grpc.GenericRpcHandler):  # type: ignore[misc]  # it has no type
    """Answers with the schemas, and to each check that nothing is wrong: Terraform itself compares with the schemas."""

    def __init__(self, schemas: bytes) -> None:
        self._schemas = schemas

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        answer = self._schemas if details.method.endswith("/GetProviderSchema") else b""
        if not details.method.startswith("/tfplugin6.Provider/"):
            return None
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: answer)


@contextmanager
def providers(*names: str) -> Iterator[str]:
    """Serve the schemas of providers, and yield the value of $TF_REATTACH_PROVIDERS."""
    servers, attached = [], {}
    try:
        for name in names:
            server = grpc.server(ThreadPoolExecutor(4), handlers=[_Answers(encode(name))])
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            servers.append(server)
            attached[SOURCE.format(name)] = {
                "Protocol": "grpc",
                "ProtocolVersion": 6,
                "Pid": os.getpid(),
                "Test": True,
                "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
            }
        yield json.dumps(attached)
    finally:
        for server in servers:
            server.stop(None).wait()
