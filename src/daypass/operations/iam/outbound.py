"""Outbound web identity federation: whether the account has its identities vouched for to others, and under which issuer.

The issuer is given when the feature is first enabled, and stays the account's for good: others pin it.
Source: IAM API, "EnableOutboundWebIdentityFederation" and its kin.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from daypass.domain.directory import OutboundFederation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.iam.work import Answer, Look, Params, Work
from daypass.ports import Ids

_PLACE: Final = "outbound"


def gather(look: Look, _p: Params, ids: Ids) -> tuple[str, str]:
    """The installation's address, and an id should the account have none yet."""
    return look.public_url, ids.request()


def enable_outbound_web_identity_federation(work: Work, _p: Params) -> Answer:
    found = _of_account(work)
    if found is not None and found.enabled:
        message = "Outbound web identity federation is already enabled for this account."
        raise DaypassError(ErrorKind.FEATURE_ENABLED, message)
    public_url, new_id = work.gathered
    enabled = OutboundFederation(
        work.account, found.issuer_id if found is not None else new_id, enabled=True, changed_at=work.now
    )
    if found is None:
        work.tx.insert(enabled)
    else:
        work.tx.replace(enabled)
    return {"IssuerIdentifier": issuer(public_url, enabled)}


def disable_outbound_web_identity_federation(work: Work, _p: Params) -> Answer:
    work.tx.replace(replace(_enabled(work), enabled=False, changed_at=work.now))
    return {}


def get_outbound_web_identity_federation_info(look: Look, _p: Params) -> Answer:
    """No tokens are given out yet, so JwtVendingEnabled says what the account has chosen, not what it gets."""
    return {"IssuerIdentifier": issuer(look.public_url, _enabled(look)), "JwtVendingEnabled": True}


def issuer(public_url: str, federation: OutboundFederation) -> str:
    """The issuer of an account's tokens: a URL of this installation."""
    return f"{public_url}/{_PLACE}/{federation.issuer_id}"


def _of_account(look: Look) -> OutboundFederation | None:
    return look.tx.get(OutboundFederation, account=look.account)


def _enabled(look: Look) -> OutboundFederation:
    found = _of_account(look)
    if found is None or not found.enabled:
        message = "Outbound web identity federation is not enabled for this account."
        raise DaypassError(ErrorKind.FEATURE_DISABLED, message)
    return found
