"""Attributes that Skyferry never writes, and that any program which can write to a queue can send."""

from __future__ import annotations

_DEEP = "[" * 1010 + "]" * 1010  # JSON may be nested so deeply, but a text of it cannot be made

FORGED = {
    "a deep value": f'[["a", {_DEEP}]]',
    "brackets without an end": "[" * 50_000,
    "an object": '{"ab": 1}',
    "nothing": "",
    "null": "null",
    "a number": "7",
    "names alone": '[["a"]]',
    "half of a surrogate pair": '[["a", "\\ud800"]]',
    "numbers": "[[1, 2]]",
    "short texts": '["xy"]',
}
