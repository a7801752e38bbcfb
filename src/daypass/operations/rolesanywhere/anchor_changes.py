"""Changes of trust anchors and certificate revocation lists, for the event streams of the account.

A trust anchor decides which certificates give access (`x509`, CAEP 1.0, 3.3.1). It belongs to the account, not to a principal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from daypass.domain.ssf import CredentialChange
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.rolesanywhere.context import WriteContext

_X509: Final = "x509"


def anchor(change: str) -> Callable[[WriteContext, Params, Answer], tuple[CredentialChange, ...]]:
    """Of an operation on a trust anchor."""
    return lambda ctx, _p, answer: _of(ctx, change, answer["trustAnchor"]["trustAnchorArn"])


def crl(ctx: WriteContext, _p: Params, answer: Answer) -> tuple[CredentialChange, ...]:
    """Of an operation on a CRL: other certificates are revoked now."""
    return _of(ctx, "update", answer["crl"]["crlArn"])


def _of(ctx: WriteContext, change: str, arn: str) -> tuple[CredentialChange, ...]:
    return (CredentialChange(ctx.account, "", _X509, change, arn),)
