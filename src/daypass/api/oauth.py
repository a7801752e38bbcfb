"""OAuth clients, resource servers and consents."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from daypass.api.operation import Command, InAccount, Limit, OnePage, Operation, Output, ResourcePages


class SecretOut(Output):
    id: str
    created_at: int


class ClientOut(Output):
    client_id: str
    arn: Annotated[str, Meta(description="As trust policies name it, as a Federated principal.")]
    account: str
    name: str
    enabled: bool
    type: Annotated[
        str, Meta(description="confidential, public or workload; it follows from how the client authenticates.")
    ]
    created_at: int
    updated_at: int
    settings: Annotated[dict[str, Any], Meta(description="Those that differ from the default.")]
    secrets: list[SecretOut]


class CreateClientInput(InAccount):
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    settings: Annotated[
        dict[str, Any], Meta(max_length=64, description="All settings; what is left out has its default.")
    ]


class GetClientInput(InAccount):
    client_id: Annotated[str, Meta(max_length=64, description="The client_id.")]


class UpdateClientInput(InAccount):
    client_id: Annotated[str, Meta(max_length=64, description="The client_id.")]
    name: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    enabled: bool | None = None
    settings: Annotated[
        Annotated[dict[str, Any], Meta(max_length=64)] | None, Meta(description="Replaces all settings.")
    ] = None


class NewSecretOut(Output):
    id: str
    client_secret: Annotated[str, Meta(description="It is shown this once.", extra={"secret": True})]


class DeleteClientSecretInput(InAccount):
    client_id: Annotated[str, Meta(max_length=64, description="The client_id.")]


class ListResourceServersInput(InAccount):
    after: Annotated[str, Meta(max_length=512, description="`next` of the page before.")] = ""
    limit: Limit = 100


class ResourceServerOut(Output):
    identifier: str
    arn: str
    account: str
    name: str
    created_at: int
    updated_at: int
    settings: dict[str, Any]


class GetResourceServerMetadataInput(InAccount):
    identifier: Annotated[str, Meta(max_length=512, description="The audience of its tokens.")]


class ResourceMetadataOut(Output):
    resource: str
    resource_name: str
    authorization_servers: list[str]
    jwks_uri: str
    scopes_supported: list[str]
    bearer_methods_supported: list[str]
    dpop_signing_alg_values_supported: list[str]
    tls_client_certificate_bound_access_tokens: bool


class PutResourceServerInput(InAccount):
    identifier: Annotated[str, Meta(max_length=512, description="The audience of its tokens.")]
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    settings: Annotated[
        dict[str, Any], Meta(max_length=64, description="All settings; what is left out has its default.")
    ]


class ListConsentsInput(InAccount):
    person: Annotated[
        str,
        Meta(min_length=1, max_length=600, description="A user's name, or the principal of a person of a provider."),
    ]


class ConsentOut(Output):
    id: str
    client_id: str
    person: Annotated[
        str,
        Meta(
            description="The unique id of a user, or the principal of a person of a provider.",
            extra={"from": "person_id"},
        ),
    ]
    created_at: int
    expires_at: int
    role: str
    scope: str
    audiences: str


class DeleteConsentInput(InAccount):
    consent_id: Annotated[str, Meta(max_length=64)]


operation = partial(Operation, section="oauth")

LIST_CLIENTS = operation(
    "ListClients",
    "GET /clients",
    "The OAuth clients of an account, oldest first.",
    OnePage,
    ClientOut,
    items="clients",
    paged=True,
    command=Command(
        "client ls",
        "List the clients.",
        columns=("CLIENT ID=client_id", "NAME", "TYPE", "ENABLED", "GRANTS=settings.grant_types"),
    ),
)
CREATE_CLIENT = operation(
    "CreateClient",
    "POST /clients",
    "Creates an OAuth client. A role admits it only if the role's trust policy names its ARN.",
    CreateClientInput,
    ClientOut,
    status=201,
)
GET_CLIENT = operation(
    "GetClient",
    "GET /clients/{client_id}",
    "One OAuth client.",
    GetClientInput,
    ClientOut,
    command=Command("client show CLIENT_ID", "Show a client and its settings."),
)
UPDATE_CLIENT = operation(
    "UpdateClient",
    "PUT /clients/{client_id}",
    "Changes an OAuth client. A disabled client cannot authenticate.",
    UpdateClientInput,
    ClientOut,
)
DELETE_CLIENT = operation(
    "DeleteClient",
    "DELETE /clients/{client_id}",
    "Deletes an OAuth client. Its refresh tokens and its sessions end.",
    GetClientInput,
    status=204,
    command=Command(
        "client rm CLIENT_ID",
        "Delete a client. Its refresh tokens and its sessions end.",
        says=("Deleted client {client_id}.",),
        confirm="Delete client {client_id}?",
    ),
)
CREATE_CLIENT_SECRET = operation(
    "CreateClientSecret",
    "POST /clients/{client_id}/secrets",
    "Adds a secret to a client that authenticates with one. Two can be active, so that they can be rotated.",
    GetClientInput,
    NewSecretOut,
    status=201,
    command=Command(
        "client secret create CLIENT_ID",
        "Make a secret. It is shown once. Two can be active, so that they can be rotated.",
    ),
)
DELETE_CLIENT_SECRET = operation(
    "DeleteClientSecret",
    "DELETE /clients/{client_id}/secrets/{secret_id}",
    "Deletes a secret of a client. It stops working at once.",
    DeleteClientSecretInput,
    status=204,
    command=Command(
        "client secret rm CLIENT_ID SECRET_ID",
        "Delete a secret. It stops working at once.",
        says=("Deleted secret {secret_id}.",),
        confirm="Delete secret {secret_id} of client {client_id}?",
    ),
)
LIST_RESOURCE_SERVERS = operation(
    "ListResourceServers",
    "GET /resource-servers",
    "The resource servers of an account, by identifier.",
    ListResourceServersInput,
    ResourceServerOut,
    items="resource_servers",
    paged=True,
    command=Command(
        "resource-server ls",
        "List the resource servers.",
        columns=("IDENTIFIER", "NAME", "SCOPES=settings.scopes"),
    ),
)
GET_RESOURCE_SERVER_METADATA = operation(
    "GetResourceServer",
    "GET /resource-servers/{identifier:path}/metadata",
    "The document that the resource server publishes below its own `/.well-known/oauth-protected-resource` (RFC 9728).",
    GetResourceServerMetadataInput,
    ResourceMetadataOut,
    unique="GetResourceServerMetadata",
)
GET_RESOURCE_SERVER = operation(
    "GetResourceServer",
    "GET /resource-servers/{identifier:path}",
    "One resource server.",
    GetResourceServerMetadataInput,
    ResourceServerOut,
    command=Command("resource-server show IDENTIFIER", "Show a resource server and its settings."),
)
PUT_RESOURCE_SERVER = operation(
    "PutResourceServer",
    "PUT /resource-servers/{identifier:path}",
    "Creates or replaces a resource server: its scopes as session policies, the algorithm and lifetime of its tokens.",
    PutResourceServerInput,
    ResourceServerOut,
)
DELETE_RESOURCE_SERVER = operation(
    "DeleteResourceServer",
    "DELETE /resource-servers/{identifier:path}",
    "Deletes a resource server. Tokens for it are made like those for an unknown audience from then on.",
    GetResourceServerMetadataInput,
    status=204,
    command=Command(
        "resource-server rm IDENTIFIER",
        "Delete a resource server. Its tokens stay valid until they expire.",
        says=("Deleted resource server {identifier}.",),
        confirm="Delete resource server {identifier}?",
    ),
)
LIST_CONSENTS = operation(
    "ListConsents",
    "GET /consents",
    "The consents that a person let Daypass remember.",
    ListConsentsInput,
    ConsentOut,
    items="consents",
    command=Command(
        "consent ls PERSON",
        "List the consents of PERSON: a user's name, or the ARN of a provider, a colon and the subject.",
        columns=("ID", "CLIENT=client_id", "ROLE", "SCOPE", "UNTIL=expires_at"),
    ),
)
DELETE_CONSENT = operation(
    "DeleteConsent",
    "DELETE /consents/{consent_id}",
    "Removes a remembered consent, and ends its refresh tokens and their sessions. The person is asked again.",
    DeleteConsentInput,
    status=204,
    command=Command(
        "consent rm CONSENT_ID",
        "Remove a consent. Its refresh tokens and their sessions end, and the person is asked again.",
        says=("Removed {consent_id}.",),
        confirm="Remove consent {consent_id}?",
    ),
)

_NEW_CLIENT = """{
  "token_endpoint_auth_method": "none",
  "grant_types": ["authorization_code", "refresh_token"],
  "redirect_uris": ["https://app.example.com/callback"],
  "roles": []
}"""
CLIENT_PAGES = ResourcePages(
    "/console/clients",
    "OAuth clients",
    "client",
    LIST_CLIENTS,
    "client_id",
    ("No OAuth clients.", "Applications that act for people are clients."),
    one="/console/client",
    show=GET_CLIENT,
    create=CREATE_CLIENT,
    change=UPDATE_CLIENT,
    remove=DELETE_CLIENT,
    actions=(CREATE_CLIENT_SECRET, DELETE_CLIENT_SECRET),
    example={"settings": _NEW_CLIENT},
)
RESOURCE_SERVER_PAGES = ResourcePages(
    "/console/resource-servers",
    "Resource servers",
    "resource server",
    LIST_RESOURCE_SERVERS,
    "identifier",
    (
        "No resource servers.",
        "Services that accept access tokens are resource servers. Their scopes limit tokens.",
    ),
    one="/console/resource-server",
    show=GET_RESOURCE_SERVER,
    create=PUT_RESOURCE_SERVER,
    change=PUT_RESOURCE_SERVER,
    remove=DELETE_RESOURCE_SERVER,
    example={"settings": '{\n  "scopes": {"read": {}}\n}'},
)
