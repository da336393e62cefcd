"""`skyferry conformance` on a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson

from skyferry.cli.exit_codes import ExitCode


def test_a_folder_breaks_the_one_sentence_that_no_folder_can_keep(tmp_path: Path) -> None:
    """Every other is true or does not apply; nothing is left behind; the exit code tells."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    command = [sys.executable, "-m", "skyferry", "conformance", str(folder), "--json"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, check=False)
    said = orjson.loads(done.stdout)
    failed = [result["name"] for result in said["results"] if result["outcome"] == "failed"]
    assert failed == ["test_a_key_and_one_below_it"]
    assert done.returncode == 1
    assert sum(result["outcome"] == "passed" for result in said["results"]) > 40
    assert [path for path in folder.iterdir() if path.name != ".skyferry"] == []


def test_only_the_outage_of_a_store_is_reported(tmp_path: Path) -> None:
    """Port 9 answers nobody. What was opened is closed, though nothing can be cleaned up."""
    url = "s3://any/?endpoint=http://127.0.0.1:9&service=localstack&identity=static"
    env = {**os.environ, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    command = [sys.executable, "-m", "skyferry", "conformance", url, "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    [line] = done.stderr.splitlines()
    assert line.startswith("error: store: Cannot connect to host 127.0.0.1:9")
    assert done.returncode == ExitCode.UNREACHABLE
