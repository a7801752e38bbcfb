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


async def client_credentials(env: Env, call: Call, request: TokenRequest) -> IssuedToken:
    """daypass:ExchangeToken, for a client that has authenticated. Raises DaypassError: see `issue_token`."""
    client = request.sender.known_client
    if client.caller is not None:
        applicant = signing_applicant(env, Call(client.caller, call.facts, call.now))
        subject = Subject(applicant, ASSUME_ROLE, client.caller.name, client.client.id, client.caller)
        return await issue_token(env, call, request, subject)
    roles = client.settings.roles
    role = request.role_arn or (roles[0] if len(roles) == 1 and roles[0] != ANY else "")
    proof = client_proof(env, client)
    applicant = proven_applicant(call, proof, snapshot(env))
    subject = Subject(applicant, ACTION, client.client.id, client.client.id, proof=proof)
    return await issue_token(env, call, request if request.role_arn else replace(request, role_arn=role), subject)


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
