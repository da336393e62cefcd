"""Prometheus 2.42, from Debian: scrapes a service, evaluates alert rules, and answers queries."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from skyferry.frozen import dataclass
from skyferry.testing.servers.process import Children, ServerMissing, free_ports, scratch_folder

HOST = "127.0.0.1"
INTERVAL = "250ms"  # of scrapes and rules


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query, each with `metric` (labels) and `value` (time, text)."""
        with urlopen(f"{self.url}/api/v1/query?{urlencode({'query': expression})}", timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result


def install() -> None:
    """Install it with apt-get, which needs root."""
    subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", "prometheus"], check=True)


@contextmanager
def prometheus(
    targets: Sequence[str], rules: str, labels: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `targets` (HOST:PORT) as the job skyferry, with `rules` (YAML). Takes about 0.2 s to start.

    `labels` are added to the series of a target.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise ServerMissing("prometheus")
    (port,) = free_ports(1, HOST)
    with (
        scratch_folder("prometheus") as folder,
        Children(folder / "log", grace=0.1) as children,
    ):  # its own end takes seconds
        (folder / "rules.yaml").write_text(rules)
        config = _configure(folder, {target: (labels or {}).get(target, {}) for target in targets})
        children.spawn(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:{port}",
            ]
        )
        server = Prometheus(f"http://{HOST}:{port}")
        children.wait(lambda: _is_ready(server.url))
        yield server


def _is_ready(url: str) -> bool:
    """Return True once it answers queries; until then, its answer is 503."""
    try:
        urlopen(f"{url}/-/ready", timeout=2).close()
    except OSError:  # HTTPError is one
        return False
    return True


def _configure(folder: Path, targets: Mapping[str, Mapping[str, str]]) -> Path:
    file = folder / "prometheus.yaml"
    configs = [{"targets": [target], "labels": dict(labels)} for target, labels in targets.items()]
    file.write_text(
        json.dumps(  # JSON is YAML
            {
                "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
                "rule_files": [str(folder / "rules.yaml")],
                "scrape_configs": [{"job_name": "skyferry", "static_configs": configs}],
            }
        )
    )
    return file
