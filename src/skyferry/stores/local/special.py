"""The policy for links, pipes, sockets and devices in a local bucket. They are not objects."""

from __future__ import annotations

from collections.abc import Callable

from skyferry.errors import Unsupported
from skyferry.frozen import dataclass


@dataclass(frozen=True, slots=True)
class SpecialFiles:
    """A store's reaction to special files in a listing."""

    store: str
    policy: str  # skip, follow or fail
    report: Callable[[str, str], None]  # gets the path and the kind: symlink, fifo, socket or device

    def found(self, path: str, kind: str) -> None:
        """Report it. Raises Unsupported if the policy is `fail`."""
        self.report(path, kind)
        if self.policy == "fail":
            hint = "Remove it, replace it with the file itself, or set special_files: skip for this store."
            raise Unsupported(f"{path} is a {kind}, and special_files is fail", where=self.store, hint=hint)
