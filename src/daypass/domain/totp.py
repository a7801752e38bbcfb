"""Time-based one-time passwords: RFC 6238 with HMAC-SHA-1, six digits and steps of thirty seconds, as AWS's devices have it.

Pure: whoever asks gives the time, and remembers which steps have been used.
"""

from __future__ import annotations

import hashlib
import hmac

STEP_MS = 30_000
DIGITS = 6
WINDOW = 1
"""A code may be a step early or late (RFC 6238, section 5.2)."""
DRIFT = 120
"""How many steps a device's clock may be off when its codes are first seen, or seen anew: an hour."""


def step_at(now: int) -> int:
    """The number of the step that `now` (ms) is in."""
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
    """The step around `now` (ms), by the device's clock, whose code this is; None when it is none's.

    Every step of the window is computed and compared, whatever matches, in time that does not tell.
    """
    if not is_code(code):
        return None
    middle = step_at(now) + drift
    found = None
    for step in range(middle - WINDOW, middle + WINDOW + 1):
        if hmac.compare_digest(code_at(seed, step), code):
            found = step
    return found


def consecutive_step(seed: bytes, first: str, second: str, now: int, drift: int) -> int | None:
    """The step of the first of two codes that follow one another, within DRIFT steps of a device's time; None if none is.

    Of several the nearest: of two random codes there is one in some millions.
    """
    if not (is_code(first) and is_code(second)):
        return None
    middle = step_at(now) + drift
    for step in sorted(range(middle - DRIFT - 1, middle + DRIFT), key=lambda each: abs(each - middle)):
        if hmac.compare_digest(code_at(seed, step) + code_at(seed, step + 1), first + second):
            return step
    return None


def drift_of(step: int, now: int) -> int:
    """How far ahead of ours a device's clock is when it showed codes of `step` and the next one: nothing, within the window.

    The second of them is the newer one: its step is where the device's clock is now, or has just been.
    """
    ahead = step + 1 - step_at(now)
    return ahead if abs(ahead) > WINDOW else 0
