"""A stock MCP client that signs a person in with a browser. Arguments: the server's URL, the client metadata URL, redirect URI.

It prints the address that the browser must open, reads the address to which the browser came back, and prints the result of
the tool. It runs in the environment of `mcp_server`.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from mcp.client import Client

URL, METADATA, BACK = sys.argv[1:]


class Memory:
    """Stores tokens for one run."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def opened(address: str) -> None:
    print(f"open {address}", flush=True)


async def came_back() -> AuthorizationCodeResult:
    line = await asyncio.to_thread(sys.stdin.readline)
    query = {name: values[0] for name, values in parse_qs(urlsplit(line.strip()).query).items()}
    return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))


async def main() -> None:
    metadata = OAuthClientMetadata(
        redirect_uris=[BACK], client_name="Agent", grant_types=["authorization_code", "refresh_token"]
    )
    auth = OAuthClientProvider(URL, metadata, Memory(), opened, came_back, client_metadata_url=METADATA)
    async with (
        create_mcp_http_client(auth=auth) as http,
        Client(streamable_http_client(URL, http_client=http)) as client,
    ):
        result = await client.call_tool("caller", {})
        print(f"result {result.content[0].text}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
