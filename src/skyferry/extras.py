"""The command that installs an extra of Skyferry, as it was installed here."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit


def install_command(extra: str) -> str:
    """Return a shell command: from the index or from the checkout, by the tool that manages this environment."""
    folder, editable = _find_checkout()
    target = shlex.quote(f"{folder or 'skyferry'}[{extra}]")
    target = f"--editable {target}" if editable else target
    prefix = Path(sys.prefix)
    if "pipx" in prefix.parts:
        return f"pipx install --force {target}"
    if prefix.parts[-3:-1] == ("uv", "tools"):
        return f"uv tool install {target}"
    if find_spec("pip") is None:
        return f"uv pip install --python {shlex.quote(sys.executable)} {target}"
    from shutil import which  # slow to import, and only errors need it

    pip = which("pip")
    own = pip is not None and Path(pip).parent == Path(sys.executable).parent
    return f"{'pip' if own else f'{shlex.quote(sys.executable)} -m pip'} install {target}"


def _find_checkout() -> tuple[str, bool]:
    """Return the folder that Skyferry was installed from, "" = the index; and whether it is used in place (PEP 610)."""
    from importlib.metadata import PackageNotFoundError, distribution  # slow as well

    try:
        origin = json.loads(distribution("skyferry").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return "", False
    url = urlsplit(str(origin.get("url", "")))
    folder = unquote(url.path)
    if url.scheme != "file" or not Path(folder, "pyproject.toml").is_file():
        return "", False
    return folder, bool(origin.get("dir_info", {}).get("editable"))
