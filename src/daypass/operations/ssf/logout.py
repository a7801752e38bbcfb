"""Tells clients that a person has signed out (OpenID Connect Back-Channel Logout 1.0).

A browser session names the clients that have an ID token of it and have registered for this. Whatever ends the session writes
a notification for each of them in its own transaction, so none is lost; `operations.notifications` delivers them, with retry.
A session that expires tells nobody: its ID tokens say when they expire.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from daypass.domain.directory import BrowserSession, Notification, NotificationChannel, OAuthClient, Revocation
from daypass.domain.oauth.client import parse_client
from daypass.operations.principals import subject_id
from daypass.ports import Env, Ids, Tx

LOGOUT: Final = "client.logout"
CLIENT: Final = "logout"
"""The kind of the channel of a client. No account can make one."""
_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_TYPE: Final = "logout+jwt"
_SECONDS: Final = 120
_PREFIX: Final = "client:"
_EVERY: Final = 1_000  # browser sessions of one person


def note_client(tx: Tx, browser: str, client: OAuthClient) -> None:
    """Notes that a client has an ID token of the browser session with this id, if it is to be told of its end."""
    row = tx.get(BrowserSession, id=browser)
    told = parse_client(client.settings).backchannel_logout_uri
    if row is not None and told and client.id not in row.clients:
        tx.replace(replace(row, clients=(*row.clients, client.id)))


def sign_out(ids: Ids, tx: Tx, row: BrowserSession, now: int) -> None:
    """Ends a browser session, and tells its clients."""
    tx.delete(row)
    _tell(ids, tx, row, now)


def tell_of_revocation(ids: Ids, tx: Tx, revocation: Revocation, now: int) -> None:
    """Tells the clients of the browser sessions that a revocation of a session or person has ended."""
    column = {"session": "session_id", "principal": "principal_id"}.get(revocation.subject)
    if column is not None:
        tell_of_end(ids, tx, revocation.account, now, **{column: revocation.value})


def tell_of_end(ids: Ids, tx: Tx, account: str, now: int, **whose: str) -> None:
    """Tells the clients of browser sessions that have ended without being deleted, as by a new password."""
    for row in tx.find(BrowserSession, account=account, limit=_EVERY, **whose):
        if row.clients:
            tx.replace(replace(row, clients=()))
            _tell(ids, tx, row, now)


def _tell(ids: Ids, tx: Tx, row: BrowserSession, now: int) -> None:
    about = {"sub": subject_id(row.account, row.principal_id), "sid": row.session_id}
    for client_id in row.clients:
        detail = {"client_id": client_id, **about}
        document = {"type": LOGOUT, "at": now, "account": row.account, "actor": "daypass", "detail": detail, "link": ""}
        name = _PREFIX + client_id
        tx.insert(Notification(ids.session(), row.account, name, LOGOUT, json.dumps(document), now, next_at=now))


def channel_of(tx: Tx, notification: Notification) -> NotificationChannel | None:
    """The client's back-channel logout URI; None if it is gone or no longer wanted."""
    client = tx.get(OAuthClient, id=notification.channel.removeprefix(_PREFIX))
    settings = parse_client(client.settings) if client is not None and client.enabled else None
    if client is None or settings is None or not settings.backchannel_logout_uri:
        return None
    name, algorithm = notification.channel, settings.id_token_signed_response_alg
    return NotificationChannel(client.account, name, CLIENT, settings.backchannel_logout_uri, b"", (algorithm,), 0, 0)


async def tell(env: Env, channel: NotificationChannel, notification: Notification) -> None:
    """One attempt to tell a client. Raises OutboundFailed."""
    about: dict[str, Any] = json.loads(notification.document)["detail"]
    server, now = env.oauth, env.clock.now() // 1000
    claims = {
        "iss": server.issuer,
        "aud": about["client_id"],
        "iat": now,
        "exp": now + _SECONDS,
        "jti": notification.id,
        "sub": about["sub"],
        "sid": about["sid"],
        "events": {_EVENT: {}},
    }
    algorithm = channel.event_types[0] or server.algorithm_for((about["client_id"],))
    body = urlencode({"logout_token": server.signer.sign(claims, algorithm, _TYPE)}).encode("ascii")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    await env.outbound.post(channel.target, body, headers, owner=channel.account)
