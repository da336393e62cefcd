"""The section of the changelog about one version, for a release: `python -m tools.release_notes 0.2.0`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def find_notes(changelog: str, version: str) -> str:
    """Return the section of a version, without its heading. Raises LookupError if there is none, or if it is empty."""
    found = re.search(rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise LookupError(f"CHANGELOG.md has no entries for {version}. Rename its section Unreleased to {version}.")
    return found[1].strip() + "\n"


if __name__ == "__main__":
    try:
        sys.stdout.write(find_notes(CHANGELOG.read_text("utf-8"), sys.argv[1]))
    except LookupError as missing:
        sys.exit(str(missing.args[0]))
