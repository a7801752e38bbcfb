"""Outbound web identity federation: whether the account's identities can get tokens for others, and under which issuer.

The issuer is assigned when the feature is first enabled, and never changes, because others rely on it.
Source: IAM API, "EnableOutboundWebIdentityFederation" and related operations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from daypass.domain.directory import OutboundFederation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.ports import Ids

PLACE: Final = "outbound"
"""The path below which the issuers of all accounts are."""


def gather(ctx: ReadContext, _p: Params, ids: Ids) -> tuple[str, str]:
    """The installation's address, and a new id in case the account has none yet."""
    return ctx.public_url, ids.request()


def enable_outbound_web_identity_federation(ctx: WriteContext, _p: Params) -> Answer:
    federation = _of_account(ctx)
    if federation is not None and federation.enabled:
        message = "Outbound web identity federation is already enabled for this account."
        raise DaypassError(ErrorKind.FEATURE_ENABLED, message)
    public_url, new_id = ctx.gathered
    enabled = OutboundFederation(
        ctx.account, federation.issuer_id if federation is not None else new_id, enabled=True, changed_at=ctx.now
    )
    if federation is None:
        ctx.tx.insert(enabled)
    else:
        ctx.tx.replace(enabled)
    return {"IssuerIdentifier": issuer(public_url, enabled)}


def disable_outbound_web_identity_federation(ctx: WriteContext, _p: Params) -> Answer:
    ctx.tx.replace(replace(_enabled(ctx), enabled=False, changed_at=ctx.now))
    return {}


def get_outbound_web_identity_federation_info(ctx: ReadContext, _p: Params) -> Answer:
    return {"IssuerIdentifier": issuer(ctx.public_url, _enabled(ctx)), "JwtVendingEnabled": True}


def issuer(public_url: str, federation: OutboundFederation) -> str:
    """The issuer of an account's tokens: a URL of this installation."""
    return f"{public_url}/{PLACE}/{federation.issuer_id}"


def _of_account(ctx: ReadContext) -> OutboundFederation | None:
    return ctx.tx.get(OutboundFederation, account=ctx.account)


def _enabled(ctx: ReadContext) -> OutboundFederation:
    federation = _of_account(ctx)
    if federation is None or not federation.enabled:
        message = "Outbound web identity federation is not enabled for this account."
        raise DaypassError(ErrorKind.FEATURE_DISABLED, message)
    return federation
