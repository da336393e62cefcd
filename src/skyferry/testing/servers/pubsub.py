"""Google's Pub/Sub emulator, of the Cloud SDK: found where `gcloud` is, or Debian's package of it. Needs Java."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skyferry.frozen import dataclass
from skyferry.testing.servers.process import Children, ServerMissing, free_ports, is_answering, scratch_folder

HOST = "127.0.0.1"
JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar"
BRING = "gcloud components install pubsub-emulator (or apt-get install google-cloud-cli-pubsub-emulator), with Java"


@dataclass(frozen=True, slots=True)
class PubSubEmulator:
    """A running emulator; its data are in memory."""

    endpoint: str  # host:port
    project: str = "proj-test"

    @property
    def url(self) -> str:
        """As settings have it."""
        return f"http://{self.endpoint}"


def install() -> None:
    """Check that it is installed: only the Cloud SDK contains it. Raises ServerMissing, which names the command."""
    _found()


def _found() -> tuple[str, Path]:
    """Java and the newest emulator. `gcloud` is a link into the SDK, or a script beside it. Raises ServerMissing."""
    gcloud, java = shutil.which("gcloud"), shutil.which("java")
    roots = (
        [Path(gcloud).resolve().parent.parent, *Path(gcloud).parent.parent.glob("lib/google-cloud-*")] if gcloud else []
    )
    jar = max((jar for root in roots for jar in root.glob(JAR)), default=None)
    if java is None or jar is None:
        raise ServerMissing("pubsub", BRING)
    return java, jar


@contextmanager
def pubsub() -> Iterator[PubSubEmulator]:
    """The emulator for as long as the block. Takes about 1 s to start and 190 MiB."""
    java, jar = _found()
    [port] = free_ports(1, HOST)
    with scratch_folder("pubsub") as folder, Children(folder / "log") as children:
        command: list[str | Path] = [
            java,
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-jar",
            jar,
            f"--host={HOST}",
            f"--port={port}",
        ]
        children.spawn(command)
        children.wait(lambda: is_answering(f"http://{HOST}:{port}"))
        yield PubSubEmulator(f"{HOST}:{port}")
