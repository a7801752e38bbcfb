"""Users, groups, MFA devices, identity providers and OAuth clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daypass.operations.oauth import clients as oauth_clients
from daypass.operations.providers import settings as provider_settings
from daypass.wire.console.iam import iam, iam_part
from daypass.wire.console.table import Cell, TableView, columns, link
from daypass.wire.console.visit import ConsoleVisit
from daypass.wire.http import Response

_ROWS: Final = 50


async def users(visit: ConsoleVisit) -> Response:
    """GET /console/users: by name."""
    found = await iam(visit, "ListUsers", Marker=visit.value("after"), MaxItems=_ROWS)
    rows = [
        (
            link(user["UserName"], "/console/user", name=user["UserName"]),
            Cell(user["Path"]),
            Cell(at=user["CreateDate"]),
            Cell(at=user.get("PasswordLastUsed") or 0),
        )
        for user in found["Users"]
    ]
    titles = columns("Name", "Path", "Created", "Last sign-in")
    empty = ("No users.", "Create one with `daypass user create`, or let people sign in with an identity provider.")
    return _table(visit, "Users", TableView(titles, rows, "/console/users", found.get("Marker", ""), empty=empty))


async def user(visit: ConsoleVisit) -> Response:
    """GET /console/user?name=…"""
    name = visit.value("name", 64)
    found = (await iam(visit, "GetUser", UserName=name))["User"]
    keys = await iam_part(visit, "ListAccessKeys", UserName=name)
    listed = (keys.value or {}).get("AccessKeyMetadata", ())
    used = {
        key["AccessKeyId"]: await iam_part(visit, "GetAccessKeyLastUsed", AccessKeyId=key["AccessKeyId"])
        for key in listed
    }
    return visit.page(
        "user",
        found["UserName"],
        user=found,
        groups=await iam_part(visit, "ListGroupsForUser", UserName=name),
        keys=keys,
        used=used,
        devices=await iam_part(visit, "ListMFADevices", UserName=name),
        attached=await iam_part(visit, "ListAttachedUserPolicies", UserName=name),
        inline=await iam_part(visit, "ListUserPolicies", UserName=name),
    )


async def groups(visit: ConsoleVisit) -> Response:
    """GET /console/groups: by name."""
    found = await iam(visit, "ListGroups", Marker=visit.value("after"), MaxItems=_ROWS)
    rows = [
        (
            link(group["GroupName"], "/console/group", name=group["GroupName"]),
            Cell(group["Path"]),
            Cell(at=group["CreateDate"]),
        )
        for group in found["Groups"]
    ]
    empty = ("No groups.", "Groups give their users the same policies. Approval rules name them.")
    table = TableView(columns("Name", "Path", "Created"), rows, "/console/groups", found.get("Marker", ""), empty=empty)
    return _table(visit, "Groups", table)


async def group(visit: ConsoleVisit) -> Response:
    """GET /console/group?name=…"""
    name = visit.value("name", 128)
    found = await iam(visit, "GetGroup", GroupName=name, Marker=visit.value("after"), MaxItems=_ROWS)
    return visit.page(
        "group",
        found["Group"]["GroupName"],
        group=found["Group"],
        users=found["Users"],
        following=found.get("Marker", ""),
        attached=await iam_part(visit, "ListAttachedGroupPolicies", GroupName=name),
        inline=await iam_part(visit, "ListGroupPolicies", GroupName=name),
    )


async def devices(visit: ConsoleVisit) -> Response:
    """GET /console/devices: the virtual MFA devices of the account."""
    found = await iam(visit, "ListVirtualMFADevices", Marker=visit.value("after"), MaxItems=_ROWS)
    rows = [_device(device) for device in found["VirtualMFADevices"]]
    empty = ("No virtual MFA devices.", "People register passkeys and devices on the page of their account.")
    titles = columns("Device", "User", "Enabled")
    return _table(
        visit, "MFA devices", TableView(titles, rows, "/console/devices", found.get("Marker", ""), empty=empty)
    )


def _device(device: Mapping[str, Any]) -> tuple[Cell, ...]:
    owner = (device.get("User") or {}).get("UserName", "")
    return (
        Cell(device["SerialNumber"].rpartition("/")[2]),
        link(owner, "/console/user", name=owner) if owner else Cell("–"),
        Cell(at=device.get("EnableDate") or 0),
    )


async def providers(visit: ConsoleVisit) -> Response:
    """GET /console/providers: OpenID Connect and SAML providers."""
    oidc = await iam(visit, "ListOpenIDConnectProviders")
    saml = await iam_part(visit, "ListSAMLProviders")
    rows = [(Cell("OpenID Connect"), _provider(each["Arn"]), Cell()) for each in oidc["OpenIDConnectProviderList"]]
    rows.extend(
        (Cell("SAML"), _provider(each["Arn"]), Cell(at=each.get("CreateDate") or 0))
        for each in (saml.value or {}).get("SAMLProviderList", ())
    )
    empty = ("No identity providers.", "With one, people and workloads need no key: `daypass trust new` starts it.")
    table = TableView(columns("Kind", "Provider", "Created"), rows, "/console/providers", empty=empty)
    return _table(visit, "Identity providers", table, problem=saml.problem)


def _provider(arn: str) -> Cell:
    return link(arn.partition("-provider/")[2], "/console/provider", arn=arn)


async def provider(visit: ConsoleVisit) -> Response:
    """GET /console/provider?arn=…"""
    arn = visit.value("arn")
    saml = ":saml-provider/" in arn
    if saml:
        found = await iam(visit, "GetSAMLProvider", SAMLProviderArn=arn)
    else:
        found = await iam(visit, "GetOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
    more = (
        await visit.attempt("daypass:GetProviderSettings", provider_settings.get_provider_settings, arn)
        if not saml
        else None
    )
    return visit.page("provider", arn.partition("-provider/")[2], arn=arn, found=found, saml=saml, settings=more)


async def clients(visit: ConsoleVisit) -> Response:
    """GET /console/clients: the OAuth clients of the account, oldest first."""
    found, following = await visit.perform(
        "daypass:ListClients", oauth_clients.list_clients, "", visit.value("after", 64), _ROWS
    )
    rows = [(Cell(client.name), Cell(client.id), Cell(at=client.created_at)) for client in found]
    empty = ("No OAuth clients.", "Applications that act for people are registered with `daypass client create`.")
    table = TableView(columns("Name", "Client id", "Created"), rows, "/console/clients", following, empty=empty)
    return _table(visit, "OAuth clients", table)


def _table(visit: ConsoleVisit, title: str, table: TableView, *, problem: str = "") -> Response:
    table = table._replace(first=bool(visit.value("after")))
    return visit.page("table", title, table=table, problem=problem)
