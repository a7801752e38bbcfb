"""Verifies a claimed signature with a secret and the clock. The comparison takes the same time for every wrong
signature.

Source: IAM User Guide, "Troubleshoot Signature Version 4 signing for AWS API requests".
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, MutableMapping
from typing import Final, NoReturn

from daypass.sigv4.canonical import format_time, mismatch, signature
from daypass.sigv4.mac import Mac
from daypass.sigv4.request import UnverifiedSignature

PRESIGNED_MAX_MS = (
    900_000  # AWS honours presigned calls to services other than S3 for 15 minutes, whatever they ask for
)
is_region: Final[Callable[[str], object]] = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
"""Whether a text may name a region. It becomes part of ARNs, so nothing in it may separate or match their parts."""


def verify(
    claimed: UnverifiedSignature,
    secret: str,
    now: int,
    *,
    skew_ms: int,
    services: Collection[str],
    regions: Collection[str] = (),
    known: MutableMapping[tuple[str, str, str], Mac] | None = None,
) -> None:
    """Returns normally if the signature was made with `secret`, for one of `services`, close enough to `now`
    (milliseconds).

    `regions`: empty accepts any region name. `known`: where keys derived from this secret are remembered. The signature
    is checked first and in constant time, so that someone without the secret learns nothing from the other answers.

    Raises:
        SigV4Error: signature_mismatch.
    """
    scope = (claimed.date, claimed.region, claimed.service)
    expected = signature(secret, claimed.canonical_request, claimed.amz_date, scope, known)
    if not claimed.signature.isascii() or not hmac.compare_digest(expected, claimed.signature):  # it takes only ASCII
        mismatch()
    check_scope(claimed, now, skew_ms=skew_ms, services=services, regions=regions)


def check_scope(
    claimed: UnverifiedSignature,
    now: int,
    *,
    skew_ms: int,
    services: Collection[str],
    regions: Collection[str] = (),
) -> None:
    """Returns normally if a signature by any key is current and for one of these services and regions. Raises
    SigV4Error.
    """
    if claimed.service not in services:
        mismatch(f"Credential should be scoped to correct service: '{min(services, default='')}'.")
    if not is_region(claimed.region) or (regions and claimed.region not in regions):
        mismatch(f"Credential should be scoped to a valid region, not '{claimed.region[:64]}'.")
    window = min(claimed.expires * 1000, PRESIGNED_MAX_MS) if claimed.presigned else skew_ms
    if not now - window <= claimed.signed_at <= now + skew_ms:
        _refuse_time(claimed, now, skew_ms, window)


def _refuse_time(claimed: UnverifiedSignature, now: int, skew_ms: int, window: int) -> NoReturn:
    signed, server = claimed.amz_date, format_time(now)
    if claimed.signed_at > now:
        mismatch(
            f"Signature not yet current: {signed} is still later than {format_time(now + skew_ms)} "
            f"({server} + {skew_ms / 60_000:g} min.)"
        )
    mismatch(
        f"Signature expired: {signed} is now earlier than {format_time(now - window)} "
        f"({server} - {window / 60_000:g} min.)"
    )
