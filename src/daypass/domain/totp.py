"""Time-based one-time passwords: RFC 6238 with HMAC-SHA-1, six digits and steps of thirty seconds, as in AWS.

Pure: the caller passes the time, and stores which steps were used.
"""

from __future__ import annotations

import hashlib
import hmac

STEP_MS = 30_000
DIGITS = 6
WINDOW = 1
"""A code may be a step early or late (RFC 6238, section 5.2)."""
DRIFT = 120
"""Maximum clock drift of a device, in steps, when it is enabled or resynchronised: an hour."""


def step_at(now: int) -> int:
    """The number of the step that contains `now` (ms)."""
    return now // STEP_MS


def code_at(seed: bytes, step: int) -> str:
    """The code of a step (RFC 4226, section 5.3)."""
    digest = hmac.digest(seed, step.to_bytes(8, "big"), hashlib.sha1)
    at = digest[-1] & 0x0F
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def is_code(text: str) -> bool:
    """Whether a text has the form of a code: six ASCII digits."""
    return len(text) == DIGITS and text.isascii() and text.isdigit()


def matching_step(seed: bytes, code: str, now: int, drift: int) -> int | None:
    """The step around `now` (ms), by the device's clock, that has this code; None when no step has it.

    Every step of the window is computed and compared in constant time.
    """
    if not is_code(code):
        return None
    middle = step_at(now) + drift
    matching = None
    for step in range(middle - WINDOW, middle + WINDOW + 1):
        if hmac.compare_digest(code_at(seed, step), code):
            matching = step
    return matching


def consecutive_step(seed: bytes, first: str, second: str, now: int, drift: int) -> int | None:
    """The step of the first of two consecutive codes, within DRIFT steps of a device's time; None when there is none.

    The nearest match is returned: two random codes match once in some millions of tries.
    """
    if not (is_code(first) and is_code(second)):
        return None
    middle = step_at(now) + drift
    for step in sorted(range(middle - DRIFT - 1, middle + DRIFT), key=lambda each: abs(each - middle)):
        if hmac.compare_digest(code_at(seed, step) + code_at(seed, step + 1), first + second):
            return step
    return None


def drift_of(step: int, now: int) -> int:
    """How far the device's clock is ahead of ours when it showed the codes of `step` and the next one: 0 within the window.

    The second code is the newer one. Its step is the device's current or most recent step.
    """
    ahead = step + 1 - step_at(now)
    return ahead if abs(ahead) > WINDOW else 0
