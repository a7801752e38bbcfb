"""An MCP server as its own SDK makes it: one tool, for tokens of Daypass that are for it. Arguments: port, issuer.

It runs in a separate environment, which has the package `mcp` and nothing of Daypass.
"""

from __future__ import annotations

import asyncio
import sys

import jwt
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

PORT, ISSUER = int(sys.argv[1]), sys.argv[2]
RESOURCE = f"http://127.0.0.1:{PORT}/mcp"
KEYS = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json")


class Verifier:
    """Verifies access tokens offline: signature, issuer, audience, expiry."""

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            key = await asyncio.to_thread(KEYS.get_signing_key_from_jwt, token)
            claims = jwt.decode(token, key, algorithms=["ES256"], audience=RESOURCE, issuer=ISSUER)
        except jwt.PyJWTError:
            return None
        scopes = claims.get("scope", "").split()
        return AccessToken(
            token=token, client_id=claims["client_id"], scopes=scopes, resource=RESOURCE, subject=claims["sub"]
        )


settings = AuthSettings(
    issuer_url=ISSUER, resource_server_url=RESOURCE, required_scopes=["tools"], validate_token_resource=True
)
server = MCPServer("orders", token_verifier=Verifier(), auth=settings)


@server.tool()
def caller() -> str:
    """Who calls."""
    token = get_access_token()
    return "nobody" if token is None else f"{token.subject} by {token.client_id}"


if __name__ == "__main__":
    server.run("streamable-http", port=PORT)
