"""One-time passwords: the RFC's own vectors, an independent implementation, and what is never taken for a code."""

from __future__ import annotations

import base64

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.domain.totp import DRIFT, code_at, consecutive_step, drift_of, is_code, matching_step, step_at

SEED = b"12345678901234567890"
NOW = 1_764_000_000_000
HERE = step_at(NOW)


@pytest.mark.parametrize(
    ("seconds", "eight_digits"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_code_at_times_of_rfc_6238_is_the_rfcs(seconds: int, eight_digits: str) -> None:
    assert code_at(SEED, step_at(seconds * 1000)) == eight_digits[2:]


@given(seed=st.binary(min_size=16, max_size=64), now=st.integers(0, 2**42))
def test_code_at_any_time_is_pyotps(seed: bytes, now: int) -> None:
    assert code_at(seed, step_at(now)) == pyotp.TOTP(base64.b32encode(seed).decode().rstrip("=")).at(now // 1000)


@pytest.mark.parametrize(("off", "found"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_matching_step_one_step_off_is_found_and_two_are_not(off: int, found: bool) -> None:
    assert matching_step(SEED, code_at(SEED, HERE + off), NOW, 0) == (HERE + off if found else None)


def test_matching_step_of_a_device_that_drifts_is_found_where_its_clock_is() -> None:
    assert matching_step(SEED, code_at(SEED, HERE - 7), NOW, -7) == HERE - 7
    assert matching_step(SEED, code_at(SEED, HERE), NOW, -7) is None


@pytest.mark.parametrize("text", ["", "12345", "1234567", "12345\n", "１２３４５６", "12 456", "+12345", "12345a"])
def test_codes_of_another_form_match_nothing(text: str) -> None:
    assert not is_code(text)
    assert matching_step(SEED, text, NOW, 0) is None
    assert consecutive_step(SEED, text, code_at(SEED, HERE), NOW, 0) is None
    assert consecutive_step(SEED, code_at(SEED, HERE), text, NOW, 0) is None


@pytest.mark.parametrize("off", [-DRIFT - 1, -5, -1, 0, 1, DRIFT - 1])
def test_consecutive_step_within_the_drift_is_found(off: int) -> None:
    step = HERE + off
    assert consecutive_step(SEED, code_at(SEED, step), code_at(SEED, step + 1), NOW, 0) == step
    assert consecutive_step(SEED, code_at(SEED, step + 9), code_at(SEED, step + 10), NOW, 9) == step + 9


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (0, 2), (-DRIFT - 2, -DRIFT - 1), (DRIFT, DRIFT + 1)])
def test_consecutive_step_of_other_pairs_is_none(first: int, second: int) -> None:
    assert consecutive_step(SEED, code_at(SEED, HERE + first), code_at(SEED, HERE + second), NOW, 0) is None


@pytest.mark.parametrize(("off", "drift"), [(-1, 0), (0, 0), (-2, 0), (-3, -2), (1, 2), (9, 10)])
def test_drift_of_codes_within_the_window_is_nothing(off: int, drift: int) -> None:
    assert drift_of(HERE + off, NOW) == drift
    assert matching_step(SEED, code_at(SEED, HERE + off + 1), NOW, drift) == HERE + off + 1
