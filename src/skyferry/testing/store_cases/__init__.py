"""The cases of the store suite, without a test framework, and a function to run them against any bucket."""

from __future__ import annotations

import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal
from unittest import SkipTest

from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass
from skyferry.testing.store_cases.attributes import AttributeCases
from skyferry.testing.store_cases.conditions import ConditionCases
from skyferry.testing.store_cases.copies import CopyCases
from skyferry.testing.store_cases.keys import KeyCases
from skyferry.testing.store_cases.listing import ListingCases
from skyferry.testing.store_cases.objects import ObjectCases
from skyferry.testing.store_cases.place import Place
from skyferry.testing.store_cases.resuming import ResumeCases
from skyferry.testing.store_cases.streams import StreamCases
from skyferry.testing.store_cases.uploads import UploadCases

__all__ = [
    "CASES",
    "AttributeCases",
    "ConditionCases",
    "CopyCases",
    "KeyCases",
    "ListingCases",
    "ObjectCases",
    "Place",
    "Result",
    "ResumeCases",
    "StreamCases",
    "UploadCases",
    "run",
]

CASES = (
    ObjectCases,
    KeyCases,
    ConditionCases,
    StreamCases,
    UploadCases,
    ResumeCases,
    CopyCases,
    AttributeCases,
    ListingCases,
)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case."""

    name: str
    claim: str  # the sentence that it checks
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""  # why it failed or was skipped
    seconds: float = 0.0

    @property
    def subject(self) -> str:
        """The name in words; the claim continues it."""
        return self.name.removeprefix("test_").replace("_", " ")


async def run_cases(place: Callable[[str], Awaitable[Place]]) -> AsyncIterator[Result]:
    """Run every case, each in its own place. `place` is called with the case's name."""
    for cases in (kind() for kind in CASES):
        for name in (n for n in vars(type(cases)) if n.startswith("test_")):
            case, began = getattr(cases, name), time.monotonic()
            outcome, detail = await _outcome(case, await place(name))
            yield Result(name, case.__doc__ or "", outcome, detail, time.monotonic() - began)


async def _outcome(
    case: Callable[[Place], Awaitable[None]], place: Place
) -> tuple[Literal["passed", "failed", "skipped"], str]:
    try:
        await case(place)
    except SkipTest as skipped:
        return "skipped", str(skipped)
    except (AssertionError, SkyferryError, ExceptionGroup) as problem:
        return "failed", describe(problem)
    return "passed", ""


def describe(problem: BaseException) -> str:
    """Return what was expected and what came: the message of a failure, or the statement that is not true."""
    if isinstance(problem, ExceptionGroup):
        return "; ".join(dict.fromkeys(describe(each) for each in problem.exceptions))
    if isinstance(problem, AssertionError) and str(problem):
        return str(problem)
    if isinstance(problem, AssertionError):
        steps = traceback.extract_tb(problem.__traceback__)
        return f"expected: {(steps[-1].line or '').removeprefix('assert ') if steps else 'the contract'}"
    return f"expected no error, but {type(problem).__name__} came: {problem}"
