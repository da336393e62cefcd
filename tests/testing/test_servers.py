"""Servers for tests: they answer, and they never outlive the process that started them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from skyferry.testing.servers import Azurite, LocalStack, RadosGateway, ServerMissing, localstack
from skyferry.testing.servers.__main__ import main
from skyferry.testing.servers.process import Children, free_ports, is_answering

SERVE = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
HTTPServer(("127.0.0.1", int(sys.argv[1])), BaseHTTPRequestHandler).serve_forever()
"""


def test_localstack_answers_on_loopback(localstack_server: LocalStack) -> None:
    assert urlsplit(localstack_server.url).hostname == "127.0.0.1"
    assert is_answering(f"{localstack_server.url}/_localstack/health")


def test_azurite_answers(azurite_server: Azurite) -> None:
    assert is_answering(azurite_server.blob_url)
    assert is_answering(azurite_server.queue_url)


def test_radosgw_answers(radosgw_server: RadosGateway) -> None:
    assert is_answering(radosgw_server.url)


def test_a_server_that_is_not_there_names_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYFERRY_SERVERS", str(tmp_path))
    with pytest.raises(ServerMissing, match=r"python -m skyferry\.testing\.servers install localstack"), localstack():
        pass


def test_what_can_only_be_found_says_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["install", "pubsub"]) == 1
    assert "gcloud components install pubsub-emulator" in capsys.readouterr().err


def test_children_end_with_their_block(tmp_path: Path) -> None:
    [port] = free_ports()
    with Children(tmp_path / "log") as children:
        children.spawn([sys.executable, "-c", SERVE, str(port)])
        children.wait(lambda: is_answering(f"http://127.0.0.1:{port}"))
    assert not is_answering(f"http://127.0.0.1:{port}")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux notifies a child that its parent was killed")
def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, signal; from pathlib import Path; from skyferry.testing.servers.process import Children\n"
        "with Children(Path(sys.argv[1])) as children:\n"
        "    children.spawn([sys.executable, '-c', 'import os, signal; print(os.getpid(), flush=True); signal.pause()'])\n"
        "    children.wait(lambda: bool(Path(sys.argv[1]).read_bytes()))\n"
        "    print('ready', flush=True)\n"
        "    signal.pause()\n"
    )
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", code, log], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent:
        assert parent.stdout.readline() == b"ready\n"
        child = os.pidfd_open(int(log.read_text()))
        parent.kill()
    assert select.select([child], [], [], 10) == ([child], [], [])  # readable: it has ended
    os.close(child)


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    with Children(tmp_path / "log") as children:
        children.spawn([sys.executable, "-c", "raise SystemExit('no such disk')"])
        with pytest.raises(RuntimeError, match="no such disk"):
            children.wait(lambda: False)


def test_an_unknown_name_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "oracle"]) == 2
    assert "localstack" in capsys.readouterr().err
