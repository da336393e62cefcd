"""A store that is down when `copy` begins is waited for; what waiting cannot mend ends it at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from skyferry.cli.exit_codes import ExitCode

BODY = b"what is copied"


@contextmanager
def bucket(failures: int, status: int = 503) -> Iterator[str]:
    """Serve one S3 object on loopback, after so many requests that fail; give the URL."""
    left = [failures]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            if left[0] > 0:
                left[0] -= 1
                return self._answer(status, b"")
            return self._answer(206 if "range" in self.headers else 200, BODY)

        do_GET = do_HEAD

        def _answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("content-length", str(len(body)))
            if body:
                self.send_header("etag", '"1"')
                self.send_header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            if code == 206:
                self.send_header("content-range", f"bytes 0-{len(body) - 1}/{len(body)}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.daemon_threads = True
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}"
        finally:
            serving.shutdown()
            thread.join()


def configured(url: str) -> str:
    """Write a configuration whose times are short."""
    Path("c.yaml").write_text(
        f"stores: {{b: {{url: 's3://box?region=us-east-1', endpoint: '{url}', service: localstack, identity: {{kind: static}}}}}}\n"
        "retry: {request_initial_delay: 5ms, max_delay: 20ms}\n"
        "breaker: {cooldown: 50ms, max_cooldown: 50ms}\n"
    )
    return "c.yaml"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def test_a_store_that_is_down_at_the_start_is_waited_for(cli: Cli) -> None:
    with bucket(failures=12) as url:
        told = cli("copy", "s3://box/k", "out/k", "--config", configured(url))
    assert (told.code, Path("out/k").read_bytes()) == (ExitCode.OK, BODY), told.err
    assert told.err.count("waiting for the source: ") == 1
    assert "HTTP 503" in told.err
    assert told.err.count("the source responds again") == 1


def test_it_is_waited_for_no_longer_than_is_said(cli: Cli) -> None:
    with bucket(failures=10**6) as url:
        told = cli("copy", "s3://box/k", "out/k", "--retry-for", "100ms", "--config", configured(url))
    assert told.code == ExitCode.UNREACHABLE
    assert told.err.count("waiting for the source: ") == 1


@pytest.mark.parametrize("status", [403, 404])
def test_what_waiting_cannot_mend_ends_it_at_once(cli: Cli, status: int) -> None:
    with bucket(failures=10**6, status=status) as url:
        told = cli("copy", "s3://box/k", "out/k", "--config", configured(url))
    assert (told.code, "waiting" in told.err) == (ExitCode.FAILED, False), told.err


def test_a_duration_that_is_none_is_refused(cli: Cli) -> None:
    assert cli("copy", "in", "out", "--retry-for", "soon").code == ExitCode.USAGE
