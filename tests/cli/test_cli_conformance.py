"""`skyferry conformance` on a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson


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
