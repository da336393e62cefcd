"""The ledger of `skyferry copy` caches few pages, so that memory does not grow with the objects."""

from __future__ import annotations

from pathlib import Path

from skyferry.wiring.copy_ledgers import CACHE, open_ledger


async def test_the_cache_is_full_after_few_thousand_objects(tmp_path: Path) -> None:
    """100,000 objects fill the 64 MiB that a service's ledger caches, at 1 KiB each."""
    ledger = open_ledger(tmp_path / "copy.db")
    try:
        (kibibytes,) = await ledger._file.read(lambda db: db.execute("PRAGMA cache_size").fetchone())
    finally:
        await ledger.close()
    assert -kibibytes * 1024 == CACHE <= 8 * 2**20
