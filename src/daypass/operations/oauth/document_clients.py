"""Clients whose client_id is the URL of a metadata document. An account's allow-list decides before anything is fetched.

Such a client is of the account whose person it signs in, and of the client of that account that lists its URL: the limits
are that client's. Nobody who is not signed in, or does not hold a code or a token, can cause a fetch.
Source: draft-ietf-oauth-client-id-metadata-document.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from daypass.domain.arn import Source
from daypass.domain.directory import OAuthClient, OAuthCode, RefreshFamily
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import dump_client, parse_client
from daypass.domain.oauth.client_metadata import read_document
from daypass.domain.oauth.urls import is_allowed
from daypass.operations.oauth import codes
from daypass.operations.oauth.access_token import open_access_token
from daypass.operations.oauth.refresh_family import is_refresh_token, parse_token
from daypass.operations.outcome import OWNER
from daypass.operations.principals import find_current
from daypass.ports import Env

_DESCRIBED: Final = 256  # documents, each of at most 10 KB


async def document_client(env: Env, account: str, client_id: str) -> OAuthClient | None:
    """The client that a document describes; None when the account does not accept it, or the document cannot be used.

    Raises DaypassError: IDP_COMMUNICATION when the document cannot be fetched, UNAVAILABLE.
    """
    listing = await _listing_client(env, account, client_id)
    if listing is None:
        return None
    body = await env.oauth.documents.fetch(client_id, account, env.clock.now())
    try:
        name, made = _described(client_id, body, listing.settings)
    except ValueError as error:
        private: dict[str, Any] = {OWNER: account, "client_id": client_id, "document": str(error)}
        raise DaypassError(
            ErrorKind.VALIDATION, "The application's metadata document cannot be used.", private=private
        ) from None
    return OAuthClient(client_id, account, name, listing.created_at, listing.updated_at, settings=made)


@lru_cache(maxsize=_DESCRIBED)
def _described(client_id: str, body: bytes, limits: str) -> tuple[str, str]:
    """The name and the settings that a document describes, within the settings of the client that lists it.

    Raises ValueError that says what is wrong.
    """
    name, client_settings = read_document(client_id, body, parse_client(limits))
    return name, dump_client(client_settings)


async def _listing_client(env: Env, account: str, client_id: str) -> OAuthClient | None:
    """The oldest enabled client of the account that lists this URL."""

    async def find() -> OAuthClient | None:
        return _listing(await env.directory.document_clients(account), client_id)

    return await find_current(env, find)


def _listing(clients: Iterable[OAuthClient], client_id: str) -> OAuthClient | None:
    lists = (each for each in clients if is_allowed(client_id, parse_client(each.settings).metadata_documents))
    return next((each for each in lists if each.enabled), None)


async def account_of_grant(env: Env, source: Source, unverified_text: str) -> str:
    """The account in which a code, refresh token or access token was given; "" for none. It proves nothing: the text itself
    is checked with the client. Raises DaypassError(UNAVAILABLE).
    """
    try:
        if is_refresh_token(unverified_text):
            family = parse_token(unverified_text).family
            return await _account_of(env, source, RefreshFamily, id=family)
        if codes.is_code(unverified_text):
            return await _account_of(
                env, source, OAuthCode, purpose=codes.AUTHORIZATION, id=codes.code_id(unverified_text)
            )
        return (await open_access_token(env, unverified_text, env.clock.now())).session.account
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        return ""


async def _account_of(env: Env, source: Source, kind: type[RefreshFamily | OAuthCode], **key: str) -> str:
    found = await env.directory.read(lambda tx: tx.get(kind, **key), account=source.lane)
    return found.account if found is not None else ""
