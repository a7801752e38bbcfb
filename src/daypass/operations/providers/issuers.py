"""The allow-list of an account: the only issuers that its providers may have. Without one, any issuer is allowed.

It applies to creating providers and to every token, so that removing an issuer from the list stops its tokens
immediately.
"""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import IssuerAllowList
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.proof import MAX_ISSUERS, entry_fault, issuer_allowed
from daypass.operations.authorize import refresh_if_changed
from daypass.operations.management import allow, read_recorded
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Tx

_KIND = "issuers"
_NAME = "allowed"


async def may_be_trusted(env: Env, account: str, url: str) -> bool:
    """Whether the account may accept tokens of the provider `url`. Polls the change feed before it refuses."""
    return await _listed(env, account, url) or (await refresh_if_changed(env) and await _listed(env, account, url))


async def _listed(env: Env, account: str, url: str) -> bool:
    view = await env.directory.account(account)
    return view is not None and issuer_allowed(view.issuers, url)


def refuse_unlisted(tx: Reader, account: str, url: str) -> None:
    """Checks a provider to be created. Raises DaypassError(INVALID_INPUT) when the account may not trust `url`."""
    listed = tx.get(IssuerAllowList, account=account)
    if listed is not None and not issuer_allowed(listed.issuers, url):
        raise DaypassError(
            ErrorKind.INVALID_INPUT, f"The issuer {url} is not on the list of issuers that this account may trust."
        )


async def get_allowed_issuers(env: Env, call: Call, account: str = "") -> IssuerAllowList | None:
    """daypass:GetAllowedIssuers. None: the account has no list, so any issuer is allowed."""
    return await read_recorded(
        env, call, "GetAllowedIssuers", _KIND, _NAME, account, lambda tx, owner: tx.get(IssuerAllowList, account=owner)
    )


async def put_allowed_issuers(
    env: Env, call: Call, issuers: tuple[str, ...] | None, account: str = ""
) -> IssuerAllowList | None:
    """daypass:PutAllowedIssuers, with iam:CreateOpenIDConnectProvider on every provider. Replaces the list.

    None removes it; () allows no issuer.

    Raises DaypassError: ACCESS_DENIED, VALIDATION.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "PutAllowedIssuers", _KIND, _NAME, owner)
    wanted = None if issuers is None else IssuerAllowList(owner, _checked(issuers), call.now)

    def change(tx: Tx) -> tuple[IssuerAllowList | None, Event]:
        old = tx.get(IssuerAllowList, account=owner)
        if wanted is None and old is not None:
            tx.delete(old)
        elif wanted is not None and old is not None:
            tx.replace(replace(old, issuers=wanted.issuers, updated_at=wanted.updated_at))
        elif wanted is not None:
            tx.insert(wanted)
        shown = {"before": _issuers_of(old), "issuers": _issuers_of(wanted)}
        return wanted, served(
            call, kind=EventType.DIRECTORY_CHANGED, account=owner, decision=decision, detail={"allowed_issuers": shown}
        )

    return await env.journal.write(change, account=call.caller.account)


def _issuers_of(listed: IssuerAllowList | None) -> list[str] | None:
    return list(listed.issuers) if listed is not None else None


def _checked(issuers: tuple[str, ...]) -> tuple[str, ...]:
    each = tuple(dict.fromkeys(issuers))
    if len(each) > MAX_ISSUERS:
        raise DaypassError(ErrorKind.VALIDATION, f"The list has at most {MAX_ISSUERS} issuers.")
    for entry in each:
        if fault := entry_fault(entry):
            raise DaypassError(ErrorKind.VALIDATION, f"{entry[:64]!r}: {fault}.")
    return each
