"""The client credentials grant (RFC 6749, 4.4): a client gets a session of a role whose trust policy admits it.

The client is a federated principal, named by its ARN, of its own account alone. For a workload the caller's session is
the subject, so its chain and its policies apply.
"""

from __future__ import annotations

from msgspec.structs import replace

from daypass.domain.claims import PrincipalKind
from daypass.domain.oauth.client import ANY
from daypass.domain.proof import Proof
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.assume.applicant import proven_applicant, signing_applicant, snapshot
from daypass.operations.assume.assume_role_with_web_identity import ACTION
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.operations.oauth.issuance import IssuedToken, issue_token
from daypass.operations.oauth.parties import Subject
from daypass.operations.oauth.request import TokenRequest
from daypass.ports import Call, Env


def with_only_role(request: TokenRequest) -> TokenRequest:
    """The request with the default or only role of its client, if it names none. A workload that names none keeps its own."""
    client = request.sender.known_client
    roles, default = client.settings.roles, client.settings.default_role
    if request.role_arn or client.caller is not None:
        return request
    return replace(request, role_arn=default or (roles[0] if len(roles) == 1 and roles[0] != ANY else ""))


async def client_credentials(env: Env, call: Call, request: TokenRequest, proof: Proof) -> IssuedToken:
    """daypass:ExchangeToken, for a client that has authenticated. `proof`: `client_proof`.

    Raises DaypassError: see `issue_token`.
    """
    client = request.sender.known_client
    name = client.client.id
    if client.caller is not None:
        applicant = signing_applicant(env, Call(client.caller, call.facts, call.now))
        subject = Subject(applicant, ASSUME_ROLE, client.caller.name, name, client.caller)
    else:
        subject = Subject(proven_applicant(call, proof, snapshot(env)), ACTION, name, name, proof=proof)
    return await issue_token(env, call, request, subject)


def client_proof(env: Env, client: AuthenticatedClient) -> Proof:
    """The client as a federated principal. Trust policies name its ARN, and see `daypass:AuthMethod`."""
    return Proof(
        kind=PrincipalKind.WEB_IDENTITY,
        method=client.method,
        account=client.client.account,
        provider=client.client.arn,
        subject=client.client.id,
        issuer=env.oauth.issuer,
        audience=env.oauth.issuer,
        record={"name": client.client.name},
    )
