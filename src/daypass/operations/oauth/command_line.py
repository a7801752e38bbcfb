"""The client of Daypass's own command line, which every installation has. It is public, and signs in people of any account.

What it gets is not limited by the client: the person's own policies decide, as with an access key.
"""

from __future__ import annotations

from typing import Final

from daypass.domain.directory import OAuthClient
from daypass.domain.oauth.client import ANY, COMMAND_LINE_ID, ClientSettings, dump_client

_WEEK: Final = 7 * 86_400

COMMAND_LINE: Final = OAuthClient(
    id=COMMAND_LINE_ID,
    account="",
    name="Daypass command line",
    created_at=0,
    updated_at=0,
    settings=dump_client(
        ClientSettings(
            token_endpoint_auth_method="none",
            redirect_uris=("http://127.0.0.1/callback",),
            grant_types=(
                "authorization_code",
                "refresh_token",
                "urn:ietf:params:oauth:grant-type:device_code",
            ),
            roles=(ANY,),
            refresh_token_seconds=_WEEK,
        )
    ),
)
