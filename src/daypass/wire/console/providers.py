"""Identity providers: OpenID Connect and SAML, their settings, and the changes of both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from daypass.operations.providers import settings as provider_settings
from daypass.wire.console.change import Change
from daypass.wire.console.forms import Field, FormView
from daypass.wire.console.iam import iam, iam_part
from daypass.wire.console.members import members_of
from daypass.wire.console.table import Cell, TableView, columns, link, table_page
from daypass.wire.console.visit import ConsoleVisit, to
from daypass.wire.http import Response

_PROVIDERS: Final = "/console/providers"
_PROVIDER: Final = "/console/provider"
_MAX_DOCUMENT: Final = 65_536


async def providers(visit: ConsoleVisit, problem: str = "") -> Response:
    """GET /console/providers: OpenID Connect and SAML providers."""
    oidc = await iam(visit, "ListOpenIDConnectProviders")
    saml = await iam_part(visit, "ListSAMLProviders")
    rows = [(Cell("OpenID Connect"), _link(each["Arn"])) for each in oidc["OpenIDConnectProviderList"]]
    rows.extend((Cell("SAML"), _link(each["Arn"])) for each in (saml.value or {}).get("SAMLProviderList", ()))
    empty = ("No identity providers.", "With one, people and workloads need no key.")
    table = TableView(columns("Kind", "Provider"), rows, _PROVIDERS, empty=empty)
    return table_page(visit, "Identity providers", table, problem=problem or saml.problem, forms=_new(visit))


def _link(arn: str) -> Cell:
    return link(_short(arn), _PROVIDER, arn=arn)


def _short(arn: str) -> str:
    return arn.partition("-provider/")[2]


def _new(visit: ConsoleVisit) -> tuple[FormView, ...]:
    oidc = (
        Field("url", "Issuer", visit.value("url"), hint="https://…, exactly as its tokens name it", maxlength=255),
        Field("audience", "Audience", visit.value("audience"), hint="What its tokens have as aud", maxlength=255),
    )
    saml = (
        Field("saml_name", "Name", visit.value("saml_name", 128), maxlength=128),
        Field(
            "metadata", "Metadata", kind="code", hint="The provider's metadata document, XML", maxlength=_MAX_DOCUMENT
        ),
    )
    return (
        FormView(f"{_PROVIDERS}/create-oidc", "Create the provider", "New OpenID Connect provider", oidc),
        FormView(f"{_PROVIDERS}/create-saml", "Create the provider", "New SAML provider", saml),
    )


async def provider(visit: ConsoleVisit, problem: str = "") -> Response:
    """GET /console/provider?arn=…"""
    arn = visit.value("arn")
    saml = _is_saml(arn)
    found = await (_get_saml(visit, arn) if saml else _get_oidc(visit, arn))
    hidden = {"arn": arn}
    delete = FormView(f"{_PROVIDER}/delete", "Delete the provider", hidden=hidden, danger=True)
    values: dict[str, Any] = {"settings_problem": "", "forms": (_metadata_form(hidden),)}
    if not saml:
        values = await _oidc_values(visit, arn, hidden)
    return visit.page(
        "provider",
        _short(arn),
        arn=arn,
        found=found,
        saml=saml,
        delete=delete,
        remove={
            audience: FormView(
                f"{_PROVIDER}/remove-audience",
                "Remove",
                hidden={**hidden, "audience": audience},
                label=f"Remove {audience}",
                danger=True,
            )
            for audience in found.get("ClientIDList", ())
        },
        problem=problem,
        **values,
    )


async def _oidc_values(visit: ConsoleVisit, arn: str, hidden: Mapping[str, str]) -> dict[str, Any]:
    settings = await visit.attempt("daypass:GetProviderSettings", provider_settings.get_provider_settings, arn)
    audience = FormView(
        f"{_PROVIDER}/add-audience", "Add", "Add an audience", (Field("audience", "Audience", maxlength=255),), hidden
    )
    forms = [audience]
    if settings.value is not None:
        text = visit.value("settings", _MAX_DOCUMENT) or json.dumps(settings.value.members, indent=2)
        hint = f"JSON. A secret is shown as {provider_settings.KEPT}, which keeps it."
        field = Field("settings", "Members", text, "code", hint, maxlength=_MAX_DOCUMENT)
        forms.append(FormView(f"{_PROVIDER}/settings", "Save the settings", "Settings", (field,), hidden))
    return {"settings_problem": settings.problem, "forms": tuple(forms)}


def _metadata_form(hidden: Mapping[str, str]) -> FormView:
    field = Field("metadata", "Metadata", kind="code", hint="XML. It replaces the old one.", maxlength=_MAX_DOCUMENT)
    return FormView(f"{_PROVIDER}/metadata", "Replace the metadata", "New metadata", (field,), hidden)


def _is_saml(arn: str) -> bool:
    return ":saml-provider/" in arn


async def _get_saml(visit: ConsoleVisit, arn: str) -> Mapping[str, Any]:
    return await iam(visit, "GetSAMLProvider", SAMLProviderArn=arn)


async def _get_oidc(visit: ConsoleVisit, arn: str) -> Mapping[str, Any]:
    return await iam(visit, "GetOpenIDConnectProvider", OpenIDConnectProviderArn=arn)


# --- Changes ---------------------------------------------------------------------------------------------------------


async def _create_oidc(visit: ConsoleVisit) -> Response:
    audiences = [visit.value("audience")] if visit.value("audience") else []
    made = await iam(visit, "CreateOpenIDConnectProvider", Url=visit.value("url"), ClientIDList=audiences)
    return to(_PROVIDER, arn=made["OpenIDConnectProviderArn"], done="saved")


async def _create_saml(visit: ConsoleVisit) -> Response:
    metadata = visit.value("metadata", _MAX_DOCUMENT)
    made = await iam(visit, "CreateSAMLProvider", Name=visit.value("saml_name", 128), SAMLMetadataDocument=metadata)
    return to(_PROVIDER, arn=made["SAMLProviderArn"], done="saved")


def _done(visit: ConsoleVisit) -> Response:
    return to(_PROVIDER, arn=visit.value("arn"), done="saved")


async def _add_audience(visit: ConsoleVisit) -> Response:
    await _audience(visit, "AddClientIDToOpenIDConnectProvider")
    return _done(visit)


async def _remove_audience(visit: ConsoleVisit) -> Response:
    await _audience(visit, "RemoveClientIDFromOpenIDConnectProvider")
    return _done(visit)


async def _audience(visit: ConsoleVisit, operation: str) -> None:
    await iam(visit, operation, OpenIDConnectProviderArn=visit.value("arn"), ClientID=visit.value("audience"))


async def _metadata(visit: ConsoleVisit) -> Response:
    metadata = visit.value("metadata", _MAX_DOCUMENT)
    await iam(visit, "UpdateSAMLProvider", SAMLProviderArn=visit.value("arn"), SAMLMetadataDocument=metadata)
    return _done(visit)


async def _settings(visit: ConsoleVisit) -> Response:
    members = members_of(visit.value("settings", _MAX_DOCUMENT))
    await visit.perform(
        "daypass:PutProviderSettings", provider_settings.put_provider_settings, visit.value("arn"), members
    )
    return _done(visit)


async def _delete(visit: ConsoleVisit) -> Response:
    arn = visit.value("arn")
    if _is_saml(arn):
        await iam(visit, "DeleteSAMLProvider", SAMLProviderArn=arn)
    else:
        await iam(visit, "DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
    return to(_PROVIDERS, done="deleted")


def provider_changes() -> Sequence[Change]:
    """Every change of an identity provider. Each is confirmed: a provider decides who people and workloads are."""
    created = partial(Change, again=providers, confirmed=True)
    change = partial(Change, again=provider, confirmed=True)
    oidc, audience = "iam:CreateOpenIDConnectProvider", "ClientIDToOpenIDConnectProvider"
    return (
        created(f"{_PROVIDERS}/create-oidc", oidc, "Create an OpenID Connect provider", _create_oidc),
        created(f"{_PROVIDERS}/create-saml", "iam:CreateSAMLProvider", "Create a SAML provider", _create_saml),
        change(f"{_PROVIDER}/add-audience", f"iam:Add{audience}", "Add an audience", _add_audience),
        change(
            f"{_PROVIDER}/remove-audience",
            "iam:RemoveClientIDFromOpenIDConnectProvider",
            "Remove an audience",
            _remove_audience,
        ),
        change(f"{_PROVIDER}/metadata", "iam:UpdateSAMLProvider", "Replace the metadata of a provider", _metadata),
        change(f"{_PROVIDER}/settings", "daypass:PutProviderSettings", "Change a provider's settings", _settings),
        change(
            f"{_PROVIDER}/delete",
            "iam:DeleteOpenIDConnectProvider",
            "Delete an identity provider",
            _delete,
            deletes=True,
        ),
    )
