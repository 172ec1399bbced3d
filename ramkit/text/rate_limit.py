"""When the next request may go out: rate limits from a server's headers, Retry-After, and back-off with jitter.

One `Gate` stands before all requests of a run. A server tells how many requests and tokens are left and when the
counts are full again (`x-ratelimit-*`); a 429 or 503 may tell how long to wait (`retry-after`, `retry-after-ms`).
Where it tells nothing, waits double from attempt to attempt, each drawn at random below that bound, so that requests
that failed together do not come back together.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds
MOST_RETRY_AFTER = 600.0  # a server that asks for more is believed as far as this
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Gate:
    """Holds requests back until the server will take them."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._not_before = 0.0
        self._left: dict[str, int] = {}  # of "requests" and "tokens", as last told, less what has gone out since
        self._full_again: dict[str, float] = {}
        self.waited = 0.0

    async def enter(self, tokens: int) -> None:
        """Wait until a request of about so many tokens may go out, and count it."""
        while (pause := self._pause(tokens)) > 0:
            pause *= random.uniform(1.0, 1.1)  # so that all who wait do not leave at once
            self.waited += pause
            await asyncio.sleep(pause)
        for what, amount in (("requests", 1), ("tokens", tokens)):
            if what in self._left:
                self._left[what] -= amount

    def told(self, headers: Mapping[str, str]) -> None:
        """Learn from a response's headers."""
        now = self._clock()
        for what in ("requests", "tokens"):
            left = headers.get(f"x-ratelimit-remaining-{what}", "")
            reset = seconds_of(headers.get(f"x-ratelimit-reset-{what}", ""))
            if left.isdigit() and reset is not None:
                self._left[what] = min(
                    int(left), self._left.get(what, int(left)) if self._counting(what) else int(left)
                )
                self._full_again[what] = now + min(reset, MOST_RETRY_AFTER)

    def hold(self, seconds: float) -> None:
        """Let nothing out for so long: a server said so."""
        self._not_before = max(self._not_before, self._clock() + seconds)

    def _counting(self, what: str) -> bool:
        return self._clock() < self._full_again.get(what, 0.0)

    def _pause(self, tokens: int) -> float:
        now = self._clock()
        until = self._not_before
        for what, amount in (("requests", 1), ("tokens", tokens)):
            if self._counting(what) and self._left[what] < amount:
                until = max(until, self._full_again[what])
            elif not self._counting(what):
                self._left.pop(what, None)
        return max(0.0, until - now)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait; None where it asks for none."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return min(float(value) * unit, MOST_RETRY_AFTER)
    try:
        then = parsedate_to_datetime(headers.get("retry-after", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, then - time.time()), MOST_RETRY_AFTER)


def back_off(attempt: int, *, first: float = FIRST_WAIT) -> float:
    """Seconds to wait before attempt 1, 2, …: at random up to a bound that doubles, never nothing."""
    bound = min(LONGEST_WAIT, first * 2.0 ** min(attempt, 20))
    return random.uniform(bound / 4, bound)


def seconds_of(duration: str) -> float | None:
    """ "6m0s", "20ms", "1.5s" or plain seconds; None for anything else."""
    text = duration.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
