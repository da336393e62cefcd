"""What a folder says of itself."""

from __future__ import annotations

from pathlib import Path

from skyferry.stores.local.blocking.inspection import CASELESS, inspect


def test_a_folder_that_ignores_case_says_so(tmp_path: Path) -> None:
    """By our own folder, which answers to another name there; nothing is written to find out."""
    assert not inspect(tmp_path).endpoint.endswith(CASELESS)
    (tmp_path / ".skyferry").mkdir()
    assert not inspect(tmp_path).endpoint.endswith(CASELESS)
    (tmp_path / ".SKYFERRY").symlink_to(".skyferry")
    assert inspect(tmp_path).endpoint.endswith(CASELESS)
