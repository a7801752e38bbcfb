"""MFA codes in the forms of the console."""

from __future__ import annotations

from daypass.operations.assume.mfa_code import NO_CODE, MfaCode
from daypass.wire.console.visit import ConsoleVisit


def mfa_code(visit: ConsoleVisit) -> MfaCode:
    """The code of the form's fields `mfa_device` and `mfa_code`; none when no code was typed."""
    code = visit.value("mfa_code", 16)
    return MfaCode(visit.value("mfa_device", 256), code) if code else NO_CODE
