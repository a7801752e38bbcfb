"""Identity providers and trust anchors of an account: lists, pages and changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from daypass.domain.provider_settings import ProviderSettings
from daypass.operations import providers as provider_settings
from daypass.wire.console.change import FormChange
from daypass.wire.console.context import ConsoleContext, to
from daypass.wire.console.iam import iam, iam_part, roles_anywhere
from daypass.wire.console.members import form_schema, members_of
from daypass.wire.console.table import Cell, Field, FormView, TableView, link, table_page
from daypass.wire.http import Response

_PROVIDERS: Final = "/console/providers"
_PROVIDER: Final = "/console/provider"
_MAX_DOCUMENT: Final = 65_536


async def providers(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/providers: OpenID Connect and SAML providers."""
    oidc = await iam(ctx, "ListOpenIDConnectProviders")
    saml = await iam_part(ctx, "ListSAMLProviders")
    rows = [(_link(each["Arn"]), Cell("OpenID Connect")) for each in oidc["OpenIDConnectProviderList"]]
    rows.extend((_link(each["Arn"]), Cell("SAML")) for each in (saml.value or {}).get("SAMLProviderList", ()))
    empty = ("No identity providers.", "With one, people and workloads need no key.")
    table = TableView(("Provider", "Kind"), rows, _PROVIDERS, empty=empty)
    return table_page(ctx, "Identity providers", table, problem=problem or saml.problem, forms=_new(ctx))


def _link(arn: str) -> Cell:
    return link(_short(arn), _PROVIDER, arn=arn)


def _short(arn: str) -> str:
    return arn.partition("-provider/")[2]


def _new(ctx: ConsoleContext) -> tuple[FormView, ...]:
    oidc = (
        Field("url", "Issuer", ctx.value("url"), hint="https://…, exactly as its tokens name it", maxlength=255),
        Field("audience", "Audience", ctx.value("audience"), hint="The audience (aud) of its tokens", maxlength=255),
    )
    saml = (
        Field("saml_name", "Name", ctx.value("saml_name", 128), maxlength=128),
        Field(
            "metadata", "Metadata", kind="code", hint="The provider's metadata document, XML", maxlength=_MAX_DOCUMENT
        ),
    )
    return (
        FormView(f"{_PROVIDERS}/create-oidc", "Create the provider", "New OpenID Connect provider", oidc),
        FormView(f"{_PROVIDERS}/create-saml", "Create the provider", "New SAML provider", saml),
    )


async def provider(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/provider?arn=…"""
    arn = ctx.value("arn")
    saml = _is_saml(arn)
    if saml:
        found = await iam(ctx, "GetSAMLProvider", SAMLProviderArn=arn)
    else:
        found = await iam(ctx, "GetOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
    hidden = {"arn": arn}
    delete = FormView(f"{_PROVIDER}/delete", "Delete the provider", hidden=hidden, danger=True)
    about, forms = [("ARN", Cell(arn)), ("Created", Cell(at=found.get("CreateDate") or 0))], [_metadata_form(hidden)]
    if saml:
        about.append(("Certificates valid until", Cell(at=found.get("ValidUntil") or 0)))
        about.append(("Encryption", Cell(found["AssertionEncryptionMode"])))
    else:
        about.append(("Audiences", Cell(", ".join(found["ClientIDList"]) or "none: no token is accepted")))
        about.append(("Thumbprints", Cell(", ".join(found["ThumbprintList"]))))
        forms, refused = await _oidc_forms(ctx, arn, hidden)
        problem = problem or refused
    about += [(f"Tag {tag['Key']}", Cell(tag["Value"])) for tag in found.get("Tags", ())]
    remove = [
        FormView(
            f"{_PROVIDER}/remove-audience",
            f"Remove the audience {audience}",
            hidden={**hidden, "audience": audience},
            danger=True,
        )
        for audience in found.get("ClientIDList", ())
    ]
    return ctx.page(
        "described", _short(arn), about=about, forms=forms, buttons=[*remove, delete], problem=problem, once=()
    )


async def _oidc_forms(ctx: ConsoleContext, arn: str, hidden: Mapping[str, str]) -> tuple[list[FormView], str]:
    """The forms of a provider, and why its settings are not shown."""
    settings = await ctx.attempt("daypass:GetProviderSettings", provider_settings.get_provider_settings, arn)
    audience = FormView(
        f"{_PROVIDER}/add-audience", "Add", "Add an audience", (Field("audience", "Audience", maxlength=255),), hidden
    )
    forms = [audience]
    if settings.value is not None:
        text = ctx.value("settings", _MAX_DOCUMENT) or json.dumps(settings.value.members, indent=2)
        hint = f"JSON. A secret is shown as {provider_settings.KEPT}, which keeps it."
        schema = form_schema(ProviderSettings)
        field = Field("settings", "Settings", text, "provider", hint, maxlength=_MAX_DOCUMENT, schema=schema)
        forms.append(FormView(f"{_PROVIDER}/settings", "Save the settings", "Settings", (field,), hidden))
    return forms, settings.problem


def _metadata_form(hidden: Mapping[str, str]) -> FormView:
    field = Field("metadata", "Metadata", kind="code", hint="XML. It replaces the old one.", maxlength=_MAX_DOCUMENT)
    return FormView(f"{_PROVIDER}/metadata", "Replace the metadata", "New metadata", (field,), hidden)


def _is_saml(arn: str) -> bool:
    return ":saml-provider/" in arn


# --- Changes ---------------------------------------------------------------------------------------------------------


async def _create_oidc(ctx: ConsoleContext) -> Response:
    audiences = [ctx.value("audience")] if ctx.value("audience") else []
    made = await iam(ctx, "CreateOpenIDConnectProvider", Url=ctx.value("url"), ClientIDList=audiences)
    return to(_PROVIDER, arn=made["OpenIDConnectProviderArn"], done="saved")


async def _create_saml(ctx: ConsoleContext) -> Response:
    metadata = ctx.value("metadata", _MAX_DOCUMENT)
    made = await iam(ctx, "CreateSAMLProvider", Name=ctx.value("saml_name", 128), SAMLMetadataDocument=metadata)
    return to(_PROVIDER, arn=made["SAMLProviderArn"], done="saved")


def _to_provider(ctx: ConsoleContext) -> Response:
    return to(_PROVIDER, arn=ctx.value("arn"), done="saved")


async def _audience(operation: str, ctx: ConsoleContext) -> Response:
    await iam(ctx, operation, OpenIDConnectProviderArn=ctx.value("arn"), ClientID=ctx.value("audience"))
    return _to_provider(ctx)


async def _metadata(ctx: ConsoleContext) -> Response:
    metadata = ctx.value("metadata", _MAX_DOCUMENT)
    await iam(ctx, "UpdateSAMLProvider", SAMLProviderArn=ctx.value("arn"), SAMLMetadataDocument=metadata)
    return _to_provider(ctx)


async def _settings(ctx: ConsoleContext) -> Response:
    members = members_of(ctx.value("settings", _MAX_DOCUMENT))
    await ctx.perform("daypass:PutProviderSettings", provider_settings.put_provider_settings, ctx.value("arn"), members)
    return _to_provider(ctx)


async def _delete(ctx: ConsoleContext) -> Response:
    arn = ctx.value("arn")
    if _is_saml(arn):
        await iam(ctx, "DeleteSAMLProvider", SAMLProviderArn=arn)
    else:
        await iam(ctx, "DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
    return to(_PROVIDERS, done="deleted")


def provider_changes() -> Sequence[FormChange]:
    """Every change of an identity provider. Each is confirmed: a provider decides who people and workloads are."""
    created = partial(FormChange, again=providers, confirmed=True)
    change = partial(FormChange, again=provider, confirmed=True, of="arn")
    oidc = "iam:CreateOpenIDConnectProvider"
    add, remove = "AddClientIDToOpenIDConnectProvider", "RemoveClientIDFromOpenIDConnectProvider"
    return (
        created(f"{_PROVIDERS}/create-oidc", oidc, "Create an OpenID Connect provider", _create_oidc),
        created(f"{_PROVIDERS}/create-saml", "iam:CreateSAMLProvider", "Create a SAML provider", _create_saml),
        change(f"{_PROVIDER}/add-audience", f"iam:{add}", "Add an audience", partial(_audience, add)),
        change(f"{_PROVIDER}/remove-audience", f"iam:{remove}", "Remove an audience", partial(_audience, remove)),
        change(f"{_PROVIDER}/metadata", "iam:UpdateSAMLProvider", "Replace the metadata of a provider", _metadata),
        change(f"{_PROVIDER}/settings", "daypass:PutProviderSettings", "Change a provider's settings", _settings),
        change(
            f"{_PROVIDER}/delete",
            "iam:DeleteOpenIDConnectProvider",
            "Delete an identity provider",
            _delete,
            asks=True,
        ),
    )


# --- Anchors


_ROWS: Final = 50
_ANCHORS: Final = "/console/trust-anchors"
_ANCHOR: Final = "/console/trust-anchor"
_MAX_PEM: Final = 16_384
_PEM: Final = Field("pem", "Certificates", kind="code", hint="Certificates of the authority, PEM", maxlength=_MAX_PEM)


async def anchors(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/trust-anchors: in the order of creation."""
    found = await roles_anywhere(ctx, "ListTrustAnchors", pageSize=_ROWS, nextToken=ctx.value("after"))
    rows = [
        (
            link(each["name"], _ANCHOR, id=each["trustAnchorId"]),
            Cell(state="active" if each["enabled"] else "inactive"),
            Cell(at=each["createdAt"]),
            Cell(at=each["updatedAt"]),
        )
        for each in found["trustAnchors"]
    ]
    empty = ("No trust anchors.", "With one, servers get sessions with certificates that they already have.")
    titles = ("Name", "State", "Created", "Changed")
    table = TableView(titles, rows, _ANCHORS, found.get("nextToken", ""), empty=empty)
    name = Field("anchor_name", "Name", ctx.value("anchor_name"), maxlength=255)
    pem = _PEM._replace(value=ctx.value("pem", _MAX_PEM))
    new = FormView(f"{_ANCHORS}/create", "Create the trust anchor", "New trust anchor", (name, pem))
    return table_page(ctx, "Trust anchors", table, problem=problem, forms=(new,))


async def anchor(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/trust-anchor?id=…"""
    found = (await roles_anywhere(ctx, "GetTrustAnchor", trustAnchorId=ctx.value("id", 64)))["trustAnchor"]
    hidden, enabled = {"id": found["trustAnchorId"]}, found["enabled"]
    pem = found["source"]["sourceData"]["x509CertificateData"]
    action, text = ("disable", "Disable the anchor") if enabled else ("enable", "Enable the anchor")
    fields = (
        Field("anchor_name", "Name", found["name"], maxlength=255),
        _PEM._replace(value=ctx.value("pem", _MAX_PEM) or pem),
    )
    about = [
        ("ARN", Cell(found["trustAnchorArn"])),
        ("State", Cell(state="active" if enabled else "inactive")),
        ("Created", Cell(at=found["createdAt"])),
        ("Changed", Cell(at=found["updatedAt"])),
        *_certificates(pem),
    ]
    switch = FormView(f"{_ANCHOR}/{action}", text, hidden=hidden, danger=enabled)
    delete = FormView(f"{_ANCHOR}/delete", "Delete the anchor", hidden=hidden, danger=True)
    form = FormView(f"{_ANCHOR}/save", "Save", "Change name or certificates", fields, hidden)
    return ctx.page(
        "described", found["name"], about=about, forms=[form], buttons=[switch, delete], problem=problem, once=()
    )


def _certificates(pem: str) -> Iterator[tuple[str, Cell]]:
    """Facts about each certificate of a stored bundle."""
    for each in x509.load_pem_x509_certificates(pem.encode()):
        yield "Certificate", Cell(each.subject.rfc4514_string())
        yield "Issuer", Cell(each.issuer.rfc4514_string())
        yield "Ends", Cell(at=int(each.not_valid_after_utc.timestamp() * 1000))
        yield "SHA-256", Cell(each.fingerprint(hashes.SHA256()).hex(":"))


def _source(ctx: ConsoleContext) -> dict[str, Any]:
    pem = ctx.value("pem", _MAX_PEM)
    return {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": f"{pem}\n"}}


async def _create(ctx: ConsoleContext) -> Response:
    made = await roles_anywhere(
        ctx, "CreateTrustAnchor", name=ctx.value("anchor_name"), source=_source(ctx), enabled=True
    )
    return to(_ANCHOR, id=made["trustAnchor"]["trustAnchorId"], done="saved")


async def _save(ctx: ConsoleContext) -> Response:
    identifier, name = ctx.value("id", 64), ctx.value("anchor_name")
    await roles_anywhere(ctx, "UpdateTrustAnchor", trustAnchorId=identifier, name=name, source=_source(ctx))
    return to(_ANCHOR, id=identifier, done="saved")


async def _switch(operation: str, ctx: ConsoleContext) -> Response:
    identifier = ctx.value("id", 64)
    await roles_anywhere(ctx, operation, trustAnchorId=identifier)
    return to(_ANCHOR, id=identifier, done="saved")


async def _delete_anchor(ctx: ConsoleContext) -> Response:
    await roles_anywhere(ctx, "DeleteTrustAnchor", trustAnchorId=ctx.value("id", 64))
    return to(_ANCHORS, done="deleted")


def anchor_changes() -> Sequence[FormChange]:
    """Every change of a trust anchor. Each is confirmed: an anchor decides which certificates are accepted."""
    change = partial(FormChange, again=anchor, confirmed=True, of="id")
    of = "rolesanywhere:"
    enable, disable = partial(_switch, "EnableTrustAnchor"), partial(_switch, "DisableTrustAnchor")
    return (
        FormChange(
            f"{_ANCHORS}/create", f"{of}CreateTrustAnchor", "Create a trust anchor", _create, anchors, confirmed=True
        ),
        change(f"{_ANCHOR}/save", f"{of}UpdateTrustAnchor", "Change a trust anchor", _save),
        change(f"{_ANCHOR}/enable", f"{of}EnableTrustAnchor", "Enable a trust anchor", enable),
        change(f"{_ANCHOR}/disable", f"{of}DisableTrustAnchor", "Disable a trust anchor", disable),
        change(f"{_ANCHOR}/delete", f"{of}DeleteTrustAnchor", "Delete a trust anchor", _delete_anchor, asks=True),
    )
