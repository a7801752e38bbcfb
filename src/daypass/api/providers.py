"""Identity providers, the allow-list of issuers, SCIM tokens."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from daypass.api.operation import Command, Empty, InAccount, Input, Operation, OptionalMillis, Output, ResourcePages


class ProviderOut(Output):
    arn: str
    url: str
    client_ids: list[str]
    created_at: int


class GetProviderSettingsInput(InAccount):
    provider: Annotated[
        str, Meta(max_length=2048, description="The provider's URL, with or without https://, or its ARN.")
    ]


class ProviderSettingsOut(ProviderOut):
    settings: Annotated[
        dict[str, Any], Meta(description="Those that differ from the default; *** stands for a secret.")
    ]


class PutProviderSettingsInput(InAccount):
    provider: Annotated[
        str, Meta(max_length=2048, description="The provider's URL, with or without https://, or its ARN.")
    ]
    settings: Annotated[
        dict[str, Any],
        Meta(
            max_length=64,
            description="All settings; what is left out has its default. *** keeps a secret, while its address is the same.",
        ),
    ]


class KeyOut(Output):
    kid: str
    kty: str
    alg: str
    crv: str


class ProviderKeysOut(Output):
    """The status of a provider's keys in the server process that answers. Times in ms, null: never."""

    arn: str
    kind: Annotated[str, Meta(description="static, file, url, discovery; none when the settings cannot be used.")]
    place: Annotated[str, Meta(description="The file or URL that they come from.")]
    keys: list[KeyOut]
    fetched_at: OptionalMillis
    due_at: Annotated[OptionalMillis, Meta(description="When they will be fetched again.")]
    usable_until: Annotated[OptionalMillis, Meta(description="How long they serve if that keeps failing.")]
    tried_at: OptionalMillis
    failed_at: OptionalMillis
    error: Annotated[str, Meta(description="The error of the last attempt; empty when it succeeded.")]
    skew_ms: Annotated[int | None, Meta(description="The issuer's clock minus the server's, where it is known.")]


class AllowedIssuersOut(Output):
    issuers: Annotated[
        list[str] | None, Meta(description="null: the account has no list, so any issuer may be trusted.")
    ]
    updated_at: OptionalMillis


class PutAllowedIssuersInput(InAccount):
    issuers: Annotated[
        list[Annotated[str, Meta(max_length=255)]],
        Meta(max_length=100, description="Issuers' URLs without https://; `/*` at the end: everything below."),
    ]


_SUBJECT = Annotated[str, Meta(max_length=512, description="CLUSTER/NAMESPACE/SERVICE-ACCOUNT.")]


class PodIdentityAssociationOut(Output):
    subject: _SUBJECT
    id: str
    role_arn: str
    issuer: str
    created_at: int


class PodIdentityAssociationInput(InAccount):
    subject: _SUBJECT


class CreatePodIdentityAssociationInput(PodIdentityAssociationInput):
    role: Annotated[str, Meta(min_length=1, max_length=2048, description="The name or ARN of a role of the account.")]
    issuer: Annotated[
        str, Meta(min_length=1, max_length=255, description="The URL of the cluster's OIDC provider, of the account.")
    ]


class CreateScimTokenInput(Input):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    user: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="The user who is the principal of SCIM requests.",
            extra={"pick": "user"},
        ),
    ]
    days: Annotated[int, Meta(ge=1, le=366, description="Days until the token expires; by default 180.")] = 180


class ScimTokenOut(Output):
    name: str
    user_id: str
    created_at: int
    expires_at: int


class NewScimTokenOut(Output):
    scim_token: ScimTokenOut
    token: Annotated[str, Meta(description="Only this answer has it.", extra={"secret": True})]
    url: Annotated[str, Meta(description="The base URL for the directory's settings.")]


operation = partial(Operation, section="providers")
scim_operation = partial(Operation, section="SCIM")

LIST_PROVIDERS = operation(
    "ListProviders",
    "GET /providers/oidc",
    "The OpenID Connect providers of an account, by URL.",
    InAccount,
    ProviderOut,
    items="providers",
    command=Command(
        "provider ls", "List the providers of an account.", columns=("URL", "MADE=created_at", "CLIENT IDS=client_ids")
    ),
)
GET_PROVIDER_SETTINGS = operation(
    "GetProviderSettings",
    "GET /providers/oidc/{provider:path}/settings",
    "One provider with its Daypass settings.",
    GetProviderSettingsInput,
    ProviderSettingsOut,
)
PUT_PROVIDER_SETTINGS = operation(
    "PutProviderSettings",
    "PUT /providers/oidc/{provider:path}/settings",
    "Replaces a provider's settings. Only the operator's principals may set private networks, plain HTTP and files.",
    PutProviderSettingsInput,
    ProviderSettingsOut,
)
GET_PROVIDER_KEYS = operation(
    "GetProviderKeys",
    "GET /providers/oidc/{provider:path}/keys",
    "The status of a provider's keys. They are fetched if they were never fetched.",
    GetProviderSettingsInput,
    ProviderKeysOut,
)
REFRESH_PROVIDER_KEYS = operation(
    "GetProviderKeys",
    "POST /providers/oidc/{provider:path}/keys/refresh",
    "Fetches a provider's keys again, unless they were fetched within the last second.",
    GetProviderSettingsInput,
    ProviderKeysOut,
    unique="RefreshProviderKeys",
)
GET_ALLOWED_ISSUERS = operation(
    "GetAllowedIssuers",
    "GET /issuers/allowed",
    "The only issuers that the account may trust.",
    InAccount,
    AllowedIssuersOut,
)
PUT_ALLOWED_ISSUERS = operation(
    "PutAllowedIssuers",
    "PUT /issuers/allowed",
    "Replaces the list. Tokens of issuers that are not on it are refused from then on; an empty list allows none.",
    PutAllowedIssuersInput,
    AllowedIssuersOut,
)
DELETE_ALLOWED_ISSUERS = operation(
    "PutAllowedIssuers",
    "DELETE /issuers/allowed",
    "Remove the list: any issuer may be trusted.",
    InAccount,
    status=204,
    unique="DeleteAllowedIssuers",
    command=Command(
        "provider allow off",
        says=("The list is removed: any issuer may be trusted.",),
        confirm="Remove the list, so that any issuer may be trusted?",
        why="this changes whose tokens are accepted",
    ),
)
LIST_POD_IDENTITY_ASSOCIATIONS = operation(
    "ListPodIdentityAssociations",
    "GET /pod-identity-associations",
    "The roles of Kubernetes service accounts, by subject.",
    InAccount,
    PodIdentityAssociationOut,
    items="pod_identity_associations",
    command=Command(
        "pod-identity ls",
        "List the associations.",
        columns=("CLUSTER/NAMESPACE/SERVICE ACCOUNT=subject", "ROLE=role_arn", "ISSUER=issuer"),
    ),
)
CREATE_POD_IDENTITY_ASSOCIATION = operation(
    "CreatePodIdentityAssociation",
    "POST /pod-identity-associations",
    "Gives a Kubernetes service account a role by EKS Pod Identity. The role must trust `pods.eks.amazonaws.com`.",
    CreatePodIdentityAssociationInput,
    PodIdentityAssociationOut,
    status=201,
    command=Command(
        "pod-identity add SUBJECT ROLE",
        "Give service account CLUSTER/NAMESPACE/NAME a role.",
        says=("{subject} has {role_arn}.",),
    ),
)
DELETE_POD_IDENTITY_ASSOCIATION = operation(
    "DeletePodIdentityAssociation",
    "DELETE /pod-identity-associations/{subject:path}",
    "Deletes an association. Sessions that it gave live on until they expire or are revoked.",
    PodIdentityAssociationInput,
    status=204,
    command=Command(
        "pod-identity rm SUBJECT",
        "Delete an association.",
        says=("Deleted the association of {subject}.",),
        noun="association",
        confirm="Delete the association of {subject}?",
    ),
)
CREATE_SCIM_TOKEN = scim_operation(
    "CreateScimToken",
    "POST /scim-tokens",
    "Makes a bearer token. Its user needs daypass:Provision on `directory/scim`.",
    CreateScimTokenInput,
    NewScimTokenOut,
    status=201,
    command=Command(
        "scim create NAME",
        "Make token NAME. It is shown once.",
        says=("url: {url}", "token: {token}"),
    ),
)
LIST_SCIM_TOKENS = scim_operation(
    "ListScimTokens",
    "GET /scim-tokens",
    "The tokens of your account, by name.",
    output=ScimTokenOut,
    items="scim_tokens",
    command=Command("scim ls", "List the tokens.", columns=("TOKEN=name", "USER ID=user_id", "EXPIRES=expires_at")),
)
DELETE_SCIM_TOKEN = scim_operation(
    "DeleteScimToken",
    "DELETE /scim-tokens/{name}",
    "Deletes a token. It is refused within a second everywhere.",
    Empty,
    status=204,
    command=Command(
        "scim rm NAME",
        "Delete token NAME.",
        says=("Deleted SCIM token {name}.",),
        noun="token",
        confirm="Delete SCIM token {name}?",
    ),
)
SCIM_TOKEN_PAGES = ResourcePages(
    "/console/scim-tokens",
    "SCIM tokens",
    "SCIM token",
    LIST_SCIM_TOKENS,
    "name",
    ("No SCIM tokens.", "A directory, such as Entra ID or Okta, provisions users and groups with a token."),
    create=CREATE_SCIM_TOKEN,
    remove=DELETE_SCIM_TOKEN,
)
