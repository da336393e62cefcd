"""A store that is down when `copy` begins is waited for; what waiting cannot mend ends it at once."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from skyferry.cli.exit_codes import ExitCode
from skyferry.stores.local.blocking import writing

BODY = b"what is copied"


@contextmanager
def bucket(failures: int, status: int = 503, stalls: tuple[str, ...] = ()) -> Iterator[str]:
    """Serve S3 objects on loopback, after so many requests that fail; give the URL. A GET of keys in `stalls` never ends."""
    left = [failures]
    ended = threading.Event()

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
                if self.path.rpartition("/")[2] in stalls:
                    self.wfile.write(body[:3])
                    self.wfile.flush()
                    ended.wait()
                    self.close_connection = True
                    return
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
            ended.set()
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


def test_a_source_whose_reads_stall_ends_the_copy_though_head_is_answered(cli: Cli) -> None:
    """The error names the object, the reason, and the time; no answer to HEAD counts as a recovery."""
    with bucket(failures=0, stalls=("k",)) as url:
        told = cli("copy", "s3://box/k", "out/k", "--retry-for", "1.5s", "--json", "--config", configured(url))
    assert told.code == ExitCode.UNREACHABLE, told.err
    assert "nothing has arrived for 1.5 s" in told.err
    assert "responds again" not in told.err
    document = json.loads(told.out)
    assert (document["complete"], document["objects"]["failed"]) == (False, 1)
    [failure] = document["failures"]
    assert (failure["key"], failure["error"]) == ("k", "store_timeout")


def test_a_destination_that_takes_nothing_ends_the_copy(cli: Cli) -> None:
    """Reads from the source are no progress."""
    Path("in").mkdir()
    Path("in/a").write_bytes(BODY)
    Path("skyferry-data/out").mkdir(parents=True)
    config = configured("http://127.0.0.1:9")
    Path(config).write_text("stores: {d: {url: 'sim://out', simulator: {quota: 3}}}\nretry: {max_delay: 100ms}\n")
    told = cli("copy", "in/", "sim://out", "--retry-for", "500ms", "--config", config)
    assert told.code == ExitCode.UNREACHABLE, told.err
    assert "failed: a: " in told.err


def test_a_full_destination_is_named_first(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """More objects than a circuit breaker admits fail at once."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing, "write_all", refuse)
    Path("in").mkdir()
    for number in range(50):
        Path(f"in/{number}").write_bytes(BODY)
    result = cli("copy", "in", "out", "--retry-for", "300ms")
    assert result.code == ExitCode.UNREACHABLE
    assert "No space left on device (free some disk space, or raise the quota)" in result.err.splitlines()[0]
