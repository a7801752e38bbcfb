"""Daypass's own settings of an account's OpenID Connect providers, and the state of their keys.

Only the operator may make settings by which the server reaches private networks, plain HTTP or files. Secrets are never
returned; an unchanged secret is only sent to the address that it was given for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from daypass.domain.claims import MAX_ISSUERS, entry_fault, issuer_allowed, secret_owner
from daypass.domain.directory import IssuerAllowList, OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.domain.provider_settings import SECRETS, ProviderSettings, dump_settings, parse_settings, url_of
from daypass.operations import heavy
from daypass.operations.management import InAws, allow, is_operator, read_recorded
from daypass.operations.outcome import served
from daypass.operations.principals import refresh_if_changed
from daypass.ports import Call, Env, IssuerStatus, Reader, Tx

KEPT: Final = "***"
"""Shown instead of a secret. Writing it keeps the stored secret."""

_KIND = "oidc-provider"
_GOES_TO: Final[Mapping[str, tuple[str, ...]]] = {
    "jwks_bearer": ("issuer", "jwks_url", "ca_pem", "allow_http"),
    "token_review.bearer": ("token_review.url", "ca_pem", "allow_http"),
    "sign_in.client_secret": ("issuer", "sign_in.client_id", "ca_pem", "allow_http"),
}
"""The members that determine where each secret is sent, and to whom."""
_MAX_SECRET = 10_000  # characters; sealed and in base64 it still fits the settings
_ARN = "arn:aws:iam::{}:oidc-provider/"


@dataclass(frozen=True, slots=True)
class ProviderWithSettings:
    """A provider and its settings as JSON members, secrets hidden."""

    provider: OidcProvider = field(repr=False)
    members: Mapping[str, Any]


async def list_providers(env: Env, call: Call, account: str = "") -> list[OidcProvider]:
    """daypass:ListProviders. All providers of an account by URL; the quota keeps them few."""
    return await read_recorded(
        env,
        call,
        "ListProviders",
        _KIND,
        "*",
        account,
        lambda tx, owner: tx.find(OidcProvider, account=owner, order="url"),
    )


async def get_provider_settings(env: Env, call: Call, name: str, account: str = "") -> ProviderWithSettings:
    """daypass:GetProviderSettings. `name`: a provider's URL, with or without https://, or its ARN.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND.
    """
    provider, decision = await _authorized_provider(env, call, "GetProviderSettings", name, account)
    await env.journal.commit(
        served(call, account=provider.account, decision=decision, detail={"provider": provider.arn})
    )
    return ProviderWithSettings(provider, describe(provider.settings))


async def put_provider_settings(
    env: Env, call: Call, name: str, members: Mapping[str, Any], account: str = ""
) -> ProviderWithSettings:
    """daypass:PutProviderSettings, with iam:UpdateOpenIDConnectProviderThumbprint. Replaces all settings.

    Members that are left out get their defaults.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION (saying which member), CONCURRENT_MODIFICATION.
    """
    provider, decision = await _authorized_provider(env, call, "PutProviderSettings", name, account)
    old = _stored_settings(provider.settings)
    text = json.dumps(_sealed(env, provider, old, members), default=str)
    new = await heavy.parse(env, call, read_settings, text)
    if _privileged(new) and _network_access(new) != _network_access(old) and not await is_operator(env, call.caller):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"Only the operator account's principals may set {', '.join(_privileged(new))}, or where it leads.",
            private={"provider": provider.arn, "reason": "not the operator account"},
        )
    wanted = replace(provider, settings=dump_settings(new))
    _check_roles(wanted, new)
    before, after = _without_secrets(old), _without_secrets(new)
    if fault := await env.issuers.fault(wanted):
        raise DaypassError(ErrorKind.VALIDATION, fault)

    def change(tx: Tx) -> tuple[ProviderWithSettings, Event]:
        now = tx.get(OidcProvider, account=provider.account, url=provider.url)
        if now is None:
            raise _missing(name)
        if now.settings != provider.settings:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The settings have just been changed; try again.")
        made = replace(now, settings=wanted.settings)
        tx.replace(made)
        detail = {"provider": made.arn, "settings": after, "before": before}
        event = served(call, kind=EventType.DIRECTORY_CHANGED, account=made.account, decision=decision, detail=detail)
        return ProviderWithSettings(made, after), event

    return await env.journal.write(change, account=call.caller.account)


async def get_provider_keys(
    env: Env, call: Call, name: str, account: str = "", *, refresh: bool = False
) -> tuple[OidcProvider, IssuerStatus]:
    """daypass:GetProviderKeys, as this process has them. `refresh`: fetch them again first.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, UNAVAILABLE.
    """
    provider, decision = await _authorized_provider(env, call, "GetProviderKeys", name, account)
    try:
        status = await env.issuers.status(provider, call.now, refresh=refresh)
    except DaypassError as error:
        if error.kind is not ErrorKind.IDP_COMMUNICATION:
            raise
        status = IssuerStatus("none", "", (), error=str(error.private.get("keys", error.public)))
    detail = {"provider": provider.arn, "refresh": refresh, "error": status.error}
    await env.journal.commit(served(call, account=provider.account, decision=decision, detail=detail))
    return provider, status


def _check_roles(provider: OidcProvider, settings: ProviderSettings) -> None:
    """People of a provider sign in to roles of its own account. Raises DaypassError(VALIDATION)."""
    for role in settings.sign_in.roles if settings.sign_in is not None else ():
        if role.split(":")[4] != provider.account:
            raise DaypassError(ErrorKind.VALIDATION, f"sign_in: roles: {role} is not a role of the provider's account.")


def describe(text: str) -> dict[str, Any]:
    """Settings for people and for the record: members that differ from the default, secrets hidden."""
    return _without_secrets(_stored_settings(text))


def _without_secrets(settings: ProviderSettings) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(dump_settings(settings))
    for path in SECRETS:
        holder, name = _holder(members, path)
        if holder.get(name):
            holder[name] = KEPT
    return members


def hidden(members: Mapping[str, Any]) -> dict[str, Any]:
    """Members as a person has written them, with their secrets hidden."""
    made = _copied(members)
    for path in SECRETS:
        holder, name = _holder(made, path)
        if name in holder:
            holder[name] = KEPT
    return made


def _copied(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in members.items()}


# --- Secrets ---------------------------------------------------------------------------------------------------------


def _sealed(env: Env, provider: OidcProvider, old: ProviderSettings, members: Mapping[str, Any]) -> dict[str, Any]:
    """The members with every secret sealed for this provider and member."""
    made = _copied(members)
    for path in sorted(SECRETS):
        holder, name = _holder(made, path)
        if name in holder:
            holder[name] = _seal(env, provider, path, holder[name], _sealed_before(old, made, path))
    return made


def _holder(members: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    outer, _, inner = path.rpartition(".")
    holder = members.get(outer) if outer else members
    return (holder if isinstance(holder, dict) else {}), inner


def _sealed_before(old: ProviderSettings, made: dict[str, Any], path: str) -> str:
    """The stored sealed secret, if it would still be sent to the address that it was given for; "" otherwise."""
    before = json.loads(dump_settings(old))
    moved = any((_member(made, place) or "") != (_member(before, place) or "") for place in _GOES_TO[path])
    return "" if moved else str(_member(before, path) or "")


def _member(members: dict[str, Any], path: str) -> Any:
    holder, name = _holder(members, path)
    return holder.get(name)


def _seal(env: Env, provider: OidcProvider, path: str, value: Any, kept: str) -> str:
    if value == "":
        return ""
    if value == KEPT:
        if not kept:
            raise DaypassError(
                ErrorKind.VALIDATION, f"{path}: give it again, for none is kept that was given for this address."
            )
        return kept
    fits = isinstance(value, str) and len(value) <= _MAX_SECRET and value.isascii() and value.isprintable()
    if not fits or " " in value:
        raise DaypassError(ErrorKind.VALIDATION, f"{path}: a token of at most {_MAX_SECRET} characters is expected.")
    sealed = env.sealer.seal_secret(value.encode("ascii"), provider.account, secret_owner(provider.url, path))
    return base64.b64encode(sealed).decode("ascii")


# --- Settings for the operator only ----------------------------------------------------------------------------------


def _privileged(settings: ProviderSettings) -> list[str]:
    """Members by which the server would connect to, or send, something that an account alone may not."""
    flags = {
        "allow_private_networks": settings.allow_private_networks,
        "allow_http": settings.allow_http,
        "jwks_file": settings.jwks_file,
        "jwks_bearer_file": settings.jwks_bearer_file,
        "token_review.bearer_file": settings.token_review is not None and settings.token_review.bearer_file,
    }
    return [name for name, value in flags.items() if value]


def _network_access(settings: ProviderSettings) -> tuple[Any, ...]:
    """All members that determine where the server connects, and with which credentials."""
    review = settings.token_review
    return (
        *(settings.issuer, settings.jwks_url, settings.jwks_file, settings.jwks_bearer_file, settings.ca_pem),
        *(settings.allow_private_networks, settings.allow_http),
        *((review.url, review.bearer_file) if review is not None else ("", "")),
    )


# --- Look-up ---------------------------------------------------------------------------------------------------------


async def _authorized_provider(
    env: Env, call: Call, action: str, name: str, account: str
) -> tuple[OidcProvider, Decision]:
    owner = account or call.caller.account
    url = url_of(name.removeprefix(_ARN.format(owner)))
    provider = await env.directory.read(
        lambda tx: tx.get(OidcProvider, account=owner, url=url), account=call.caller.account
    )
    in_aws = InAws(tags=provider.tags if provider is not None else ())
    decision = await allow(env, call, action, _KIND, url, owner, in_aws=in_aws)
    if provider is None:
        raise _missing(name)
    return provider, decision


def _missing(name: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"The OpenID Connect provider {name[:300]} cannot be found.")


def _stored_settings(text: str) -> ProviderSettings:
    """The stored settings, or the defaults when another version's cannot be parsed, so that they can be written again."""
    try:
        return parse_settings(text)
    except ValueError:
        return ProviderSettings()


def read_settings(text: str) -> ProviderSettings:
    """The settings as written. Raises DaypassError(VALIDATION) that names the member."""
    try:
        return parse_settings(text)
    except ValueError as error:
        raise DaypassError(ErrorKind.VALIDATION, str(error)) from None


# --- The allow-list of an account: the only issuers that its providers may have


_ISSUERS = "issuers"
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
        env,
        call,
        "GetAllowedIssuers",
        _ISSUERS,
        _NAME,
        account,
        lambda tx, owner: tx.get(IssuerAllowList, account=owner),
    )


async def put_allowed_issuers(
    env: Env, call: Call, issuers: tuple[str, ...] | None, account: str = ""
) -> IssuerAllowList | None:
    """daypass:PutAllowedIssuers, with iam:CreateOpenIDConnectProvider on every provider. Replaces the list.

    None removes it; () allows no issuer.

    Raises DaypassError: ACCESS_DENIED, VALIDATION.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "PutAllowedIssuers", _ISSUERS, _NAME, owner)
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
