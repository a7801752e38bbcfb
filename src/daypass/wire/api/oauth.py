"""OAuth clients and resource servers over the management API. Nothing is decided here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import Field

from daypass.domain.directory import Consent, OAuthClient, ResourceServer
from daypass.domain.oauth.client import parse_client
from daypass.operations.oauth import clients, consent, resource_servers
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()

ClientPath = Annotated[str, Path(max_length=64, description="The client_id.")]
IdentifierPath = Annotated[str, Path(max_length=512, description="The audience of its tokens.")]


class SecretOut(s.Out):
    id: str
    created_at: int


class ClientOut(s.Out):
    client_id: str
    arn: str = Field(description="As trust policies name it, as a Federated principal.")
    account: str
    name: str
    enabled: bool
    type: str = Field(description="confidential, public or workload; it follows from how the client authenticates.")
    created_at: int
    updated_at: int
    settings: Mapping[str, Any] = Field(description="Those that differ from the default.")
    secrets: list[SecretOut]

    @classmethod
    def of(cls, client: OAuthClient) -> ClientOut:
        return cls.copied(
            client,
            client_id=client.id,
            type=parse_client(client.settings).type,
            settings=json.loads(client.settings),
            secrets=[SecretOut(id=key, created_at=int(at)) for key, at, _ in client.secrets],
        )


class ClientsOut(s.Out):
    clients: list[ClientOut]
    next: str = Field("", description="`after` of the next page; empty at the end.")


class ClientIn(s.In):
    name: str = Field(min_length=1, max_length=128)
    settings: dict[str, Any] = Field(description="All settings; what is left out has its default.", max_length=64)


class ClientChangeIn(s.In):
    name: str | None = Field(None, min_length=1, max_length=128)
    enabled: bool | None = None
    settings: dict[str, Any] | None = Field(None, description="Replaces all settings.", max_length=64)


class NewSecretOut(s.Out):
    id: str
    client_secret: str = Field(description="It is shown this once.")


class ResourceServerOut(s.Out):
    identifier: str
    arn: str
    account: str
    name: str
    created_at: int
    updated_at: int
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, server: ResourceServer) -> ResourceServerOut:
        return cls.copied(server, settings=json.loads(server.settings))


class ResourceMetadataOut(s.Out):
    resource: str
    resource_name: str
    authorization_servers: list[str]
    jwks_uri: str
    scopes_supported: list[str]
    bearer_methods_supported: list[str]
    dpop_signing_alg_values_supported: list[str]
    tls_client_certificate_bound_access_tokens: bool


class ResourceServersOut(s.Out):
    resource_servers: list[ResourceServerOut]
    next: str = Field("", description="`after` of the next page; empty at the end.")


class ResourceServerIn(s.In):
    name: str = Field(min_length=1, max_length=128)
    settings: dict[str, Any] = Field(description="All settings; what is left out has its default.", max_length=64)


class ConsentOut(s.Out):
    id: str
    client_id: str
    person: str = Field(description="The unique id of a user, or the principal of a person of a provider.")
    created_at: int
    expires_at: int
    role: str
    scope: str
    audiences: str

    @classmethod
    def of(cls, found: Consent) -> ConsentOut:
        return cls.copied(found, person=found.person_id)


class ConsentsOut(s.Out):
    consents: list[ConsentOut]


# --- Clients


@router.get("/clients", name="ListClients", tags=["oauth"])
async def list_clients(
    env: s.EnvDep, call: s.CallDep, account: s.AccountQuery = "", after: s.AfterQuery = "", limit: s.LimitQuery = 100
) -> ClientsOut:
    """The OAuth clients of an account, oldest first."""
    page, following = await clients.CLIENTS.page(env, call, account, after, limit)
    return ClientsOut(clients=[ClientOut.of(client) for client in page], next=following)


@router.post("/clients", name="CreateClient", tags=["oauth"], status_code=201)
async def create_client(env: s.EnvDep, call: s.CallDep, body: ClientIn, account: s.AccountQuery = "") -> ClientOut:
    """Creates an OAuth client. A role admits it only if the role's trust policy names its ARN."""
    return ClientOut.of(await clients.create_client(env, call, body.name, body.settings, account))


@router.get("/clients/{client_id}", name="GetClient", tags=["oauth"])
async def get_client(env: s.EnvDep, call: s.CallDep, client_id: ClientPath, account: s.AccountQuery = "") -> ClientOut:
    """One OAuth client."""
    return ClientOut.of(await clients.CLIENTS.get(env, call, client_id, account))


@router.put("/clients/{client_id}", name="UpdateClient", tags=["oauth"])
async def update_client(
    env: s.EnvDep, call: s.CallDep, client_id: ClientPath, body: ClientChangeIn, account: s.AccountQuery = ""
) -> ClientOut:
    """Changes an OAuth client. A disabled client cannot authenticate."""
    client = await clients.update_client(
        env, call, client_id, account, name=body.name, enabled=body.enabled, members=body.settings
    )
    return ClientOut.of(client)


@router.delete("/clients/{client_id}", name="DeleteClient", tags=["oauth"], status_code=204)
async def delete_client(env: s.EnvDep, call: s.CallDep, client_id: ClientPath, account: s.AccountQuery = "") -> None:
    """Deletes an OAuth client. Its refresh tokens and its sessions end."""
    await clients.delete_client(env, call, client_id, account)


@router.post("/clients/{client_id}/secrets", name="CreateClientSecret", tags=["oauth"], status_code=201)
async def create_client_secret(
    env: s.EnvDep, call: s.CallDep, client_id: ClientPath, account: s.AccountQuery = ""
) -> NewSecretOut:
    """Adds a secret to a client that authenticates with one. Two can be active, so that they can be rotated."""
    new_secret = await clients.create_client_secret(env, call, client_id, account)
    return NewSecretOut(id=new_secret.secret_id, client_secret=new_secret.secret)


@router.delete("/clients/{client_id}/secrets/{secret_id}", name="DeleteClientSecret", tags=["oauth"], status_code=204)
async def delete_client_secret(
    env: s.EnvDep, call: s.CallDep, client_id: ClientPath, secret_id: s.IdPath, account: s.AccountQuery = ""
) -> None:
    """Deletes a secret of a client. It stops working at once."""
    await clients.delete_client_secret(env, call, client_id, secret_id, account)


# --- Resource servers


@router.get("/resource-servers", name="ListResourceServers", tags=["oauth"])
async def list_resource_servers(
    env: s.EnvDep,
    call: s.CallDep,
    account: s.AccountQuery = "",
    after: Annotated[str, Query(max_length=512, description="`next` of the page before.")] = "",
    limit: s.LimitQuery = 100,
) -> ResourceServersOut:
    """The resource servers of an account, by identifier."""
    servers, following = await resource_servers.SERVERS.page(env, call, account, after, limit)
    return ResourceServersOut(resource_servers=[ResourceServerOut.of(server) for server in servers], next=following)


@router.get("/resource-servers/{identifier:path}/metadata", name="GetResourceServer", tags=["oauth"])
async def get_resource_server_metadata(
    env: s.EnvDep, call: s.CallDep, identifier: IdentifierPath, account: s.AccountQuery = ""
) -> ResourceMetadataOut:
    """The document that the resource server publishes below its own `/.well-known/oauth-protected-resource` (RFC 9728)."""
    server = await resource_servers.SERVERS.get(env, call, identifier, account)
    return ResourceMetadataOut(**resource_servers.metadata(env, server))


@router.get("/resource-servers/{identifier:path}", name="GetResourceServer", tags=["oauth"])
async def get_resource_server(
    env: s.EnvDep, call: s.CallDep, identifier: IdentifierPath, account: s.AccountQuery = ""
) -> ResourceServerOut:
    """One resource server."""
    return ResourceServerOut.of(await resource_servers.SERVERS.get(env, call, identifier, account))


@router.put("/resource-servers/{identifier:path}", name="PutResourceServer", tags=["oauth"])
async def put_resource_server(
    env: s.EnvDep, call: s.CallDep, identifier: IdentifierPath, body: ResourceServerIn, account: s.AccountQuery = ""
) -> ResourceServerOut:
    """Creates or replaces a resource server: its scopes as session policies, the algorithm and lifetime of its tokens."""
    server = await resource_servers.put_resource_server(env, call, identifier, body.name, body.settings, account)
    return ResourceServerOut.of(server)


@router.delete("/resource-servers/{identifier:path}", name="DeleteResourceServer", tags=["oauth"], status_code=204)
async def delete_resource_server(
    env: s.EnvDep, call: s.CallDep, identifier: IdentifierPath, account: s.AccountQuery = ""
) -> None:
    """Deletes a resource server. Tokens for it are made like those for an unknown audience from then on."""
    await resource_servers.SERVERS.delete(env, call, identifier, account)


# --- Consents


PersonQuery = Annotated[
    str, Query(min_length=1, max_length=600, description="A user's name, or the principal of a person of a provider.")
]


@router.get("/consents", name="ListConsents", tags=["oauth"])
async def list_consents(
    env: s.EnvDep, call: s.CallDep, person: PersonQuery, account: s.AccountQuery = ""
) -> ConsentsOut:
    """The consents that a person let Daypass remember."""
    consents = await consent.list_consents(env, call, person, account)
    return ConsentsOut(consents=[ConsentOut.of(each) for each in consents])


@router.delete("/consents/{consent_id}", name="DeleteConsent", tags=["oauth"], status_code=204)
async def delete_consent(
    env: s.EnvDep, call: s.CallDep, consent_id: Annotated[str, Path(max_length=64)], account: s.AccountQuery = ""
) -> None:
    """Removes a remembered consent, and ends its refresh tokens and their sessions. The person is asked again."""
    await consent.delete_consent(env, call, consent_id, account)
