"""`daypass proxy`: a proxy on this machine that gives requests to one server the credentials of a role."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from daypass.cli import output
from daypass.cli.hot import CHECK_SECONDS
from daypass.cli.options import complete_roles, open_connection
from daypass.cli.request import code_source, request_of, request_options, suggesting
from daypass.client.profiles import known
from daypass.client.provider import CredentialProvider
from daypass.client.transport import endpoint_of


@click.command()
@click.argument("role", shell_complete=complete_roles)
@click.option("--to", required=True, metavar="URL", help="The server: https://orders.example.")
@click.option("--audience", default="", metavar="URI", help="Send access tokens for this audience.")
@click.option("--sign", "service", default="", metavar="SERVICE", help="Sign with SigV4 for this service instead.")
@click.option(
    "--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="Address to listen on. Default: a free port."
)
@click.option("--ca-bundle", "authorities", default="", metavar="FILE", help="The authorities of the server's TLS.")
@click.option("--any-user", is_flag=True, help="Serve other users of this machine too.")
@request_options
def proxy(role: str, profile: str, endpoint: str, **given: Any) -> None:
    """Forward requests to URL, with an access token or signature of ROLE. The credentials are
    renewed, and replaced when the server no longer accepts them.

    \b
    daypass proxy orders-reader --to https://orders.example --audience https://orders.example
    """  # noqa: D301  # click reads the control character
    from daypass.client.auth import BearerAuth, SigV4Auth, TokenSource
    from daypass.client.proxy import Proxy, host_and_port

    if bool(given["audience"]) == bool(given["service"]):
        raise click.UsageError("Give either --audience or --sign.")
    found = known(profile, endpoint)
    request = request_of(role, found, given)
    provider = CredentialProvider(
        found,
        request,
        connect=lambda: open_connection(found),
        code=code_source(request, given["mfa_code"]),
        check=CHECK_SECONDS,
    )
    with suggesting(role, found):
        provider.get()  # a role that is refused is refused now

    to, audience = endpoint_of(given["to"]).geturl(), given["audience"]
    auth: BearerAuth | SigV4Auth
    if audience:
        auth = BearerAuth(to, TokenSource(found, provider, audience))
    else:
        auth = SigV4Auth(to, provider, given["service"], found.region)
    listen = host_and_port(given["listen"])
    renew, any_user, authorities = partial(provider.get, fresh=True), given["any_user"], given["authorities"]
    with Proxy(listen, to, auth, renew, any_user=any_user, ca_bundle=authorities) as server:
        output.message(f"http://{listen[0]}:{server.server_port} serves {to} as {output.safe(role)}")
        server.serve_forever()
