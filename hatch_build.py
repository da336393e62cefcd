"""The readme as the package index shows it: its relative links lead to the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

FILES = "https://github.com/skyferry/skyferry/blob/main/"
RELATIVE = re.compile(r"(?<=\]\()(?![a-z]+:|#)(?=[^)\s])")


class ReadmeHook(MetadataHookInterface):
    """Adds the readme to the metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme."""
        text = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": RELATIVE.sub(FILES, text)}
