"""Failures are grouped by their reason, and no reason is cut."""

from __future__ import annotations

from skyferry.cli.render.failures import REASONS, SHOWN, FailureReport
from skyferry.errors import PermissionDenied


def test_failures_of_one_reason_are_one_group() -> None:
    report, hint = FailureReport(), "grant it the right to write"
    for number in range(SHOWN + 5):
        report.add_error(f"k{number}", PermissionDenied("it may not write", where=f"destination k{number}", hint=hint))
    report.add("other", "checksum_mismatch", "md5 differs", "")
    lines = list(report.format_lines())
    assert lines[0] == f"failed: 25 objects, such as k0: destination k0 it may not write\n  {hint}"
    assert lines[1 : SHOWN + 1] == [f"  k{number}" for number in range(SHOWN)]
    assert lines[SHOWN + 1 :] == ["  and 5 more", "failed: other: md5 differs"]
    assert (report.count, len(report.first)) == (26, SHOWN)


def test_memory_is_bounded() -> None:
    report = FailureReport()
    for number in range(10 * REASONS):
        report.add(f"k{number}", "error", "x" * number, "")
    assert len(list(report.format_lines())) <= (REASONS + 1) * (SHOWN + 2)
    assert report.count == 10 * REASONS
