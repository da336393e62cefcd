"""HTTP as stores use it; `skyferry.http` has it, for queues need the same."""

from skyferry.http import DOCUMENT, Answer, Http, Limits, parse_xml, retry_after

__all__ = ["DOCUMENT", "Answer", "Http", "Limits", "parse_xml", "retry_after"]
