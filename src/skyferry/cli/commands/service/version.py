"""`skyferry version`: print the version."""

from __future__ import annotations

import platform

from skyferry import __version__
from skyferry.cli.arguments.options import Json
from skyferry.cli.render import output


def version(json: Json = False) -> None:
    """Print the version of Skyferry and of the Python that runs it.

    JSON: `skyferry`, `python` and `platform`.
    """
    document = {"skyferry": __version__, "python": platform.python_version(), "platform": platform.platform()}
    if json:
        output.print_json(document)
    else:
        output.print_lines(f"skyferry {__version__} on Python {document['python']}, {document['platform']}")
