"""Messages held for longer than their visibility, by the whole service."""

from __future__ import annotations

from pathlib import Path

from bench.held import Load

from skyferry.testing.servers import LocalStack


def test_no_message_expires_while_it_is_held(tmp_path: Path, localstack_server: LocalStack) -> None:
    """Copies of 1 to 10 s at a visibility of 5, each event sent 1.5 times: each message comes once, each object is done once."""
    outcome = Load(tmp_path, localstack_server.url, 80).run(longest=10.0, transfers=100, limit=120)
    assert (outcome.sent, outcome.received) == (120, 120)
    assert (outcome.done, outcome.arrived) == (80, 80)
    assert (outcome.left, outcome.dead) == (0, 0)
