"""The navigation of the console: its pages in groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

HOME: Final = "/console/"
SETUP: Final = "/console/setup"


class NavigationItem(NamedTuple):
    """A page in the navigation.

    Attributes:
        action, resource: the permission without which the page is refused or does nothing; "{}" stands for the account.
        "": it needs none.
        operator: only principals of the operator account may open it.
        paths: pages that belong to it.
        current: it is the page that is shown.
    """

    title: str
    path: str
    action: str = ""
    resource: str = "*"
    paths: tuple[str, ...] = ()
    operator: bool = False
    current: bool = False

    @property
    def icon(self) -> str:
        """Its picture: a name in `ICONS` of tools/vendor.py."""
        return _LOOKS.get(self.path, ("circle-dot", ""))[0]

    @property
    def key(self) -> str:
        """The letter that opens it after G; "": none."""
        return _LOOKS.get(self.path, ("", ""))[1]


_LOOKS: Final[Mapping[str, tuple[str, str]]] = {
    HOME: ("home", "h"),
    "/console/inbox": ("inbox", "i"),
    "/console/request": ("hand-stop", "n"),
    "/console/approvals": ("list-check", "a"),
    "/console/sessions": ("clock-hour-4", "s"),
    "/console/roles": ("id-badge-2", "r"),
    "/console/graph": ("sitemap", "w"),
    "/console/records": ("book-2", "l"),
    "/console/anomalies": ("alert-triangle", ""),
    "/console/simulator": ("test-pipe", "t"),
    "/console/explain": ("help-circle", "d"),
    "/console/users": ("user", "u"),
    "/console/groups": ("users-group", "g"),
    "/console/keys": ("key", "k"),
    "/console/devices": ("device-mobile", ""),
    "/console/providers": ("building-bank", "p"),
    "/console/trust-anchors": ("certificate", ""),
    "/console/clients": ("apps", "c"),
    "/console/resource-servers": ("server", ""),
    "/console/dashboard": ("chart-bar", "b"),
    "/console/rules": ("shield-lock", "e"),
    "/console/reviews": ("eye-check", ""),
    "/console/notifications": ("bell", ""),
    "/console/sent-notifications": ("mail-forward", ""),
    "/console/scim-tokens": ("plug", ""),
    "/console/event-streams": ("access-point", ""),
    "/console/settings": ("settings", ""),
    "/console/start": ("rocket", ""),
}
"""Icon and key of each page."""


def _daypass(kind: str) -> str:
    return f"arn:aws:daypass::{{}}:{kind}/*"


GROUPS: Final[tuple[tuple[str, tuple[NavigationItem, ...]], ...]] = (
    (
        "Access",
        (
            NavigationItem("Home", HOME, paths=("/console/extend", "/console/credentials")),
            NavigationItem("Inbox", "/console/inbox", paths=("/console/inbox",)),
            NavigationItem("Request access", "/console/request", paths=("/console/request",)),
            NavigationItem("Approvals", "/console/approvals", paths=("/console/access-request",)),
        ),
    ),
    (
        "Use",
        (
            NavigationItem(
                "Sessions",
                "/console/sessions",
                "daypass:ListSessions",
                _daypass("session"),
                ("/console/session", "/console/revoke"),
            ),
            NavigationItem("Roles", "/console/roles", "iam:ListRoles", "arn:aws:iam::{}:role/", ("/console/role",)),
            NavigationItem("Who can what", "/console/graph", "daypass:WhoCanAccess", _daypass("access")),
            NavigationItem(
                "Record",
                "/console/records",
                "daypass:ReadAudit",
                _daypass("audit"),
                ("/console/record", "/console/timeline"),
            ),
            NavigationItem("Anomalies", "/console/anomalies", "daypass:ReadAudit", _daypass("audit")),
            NavigationItem("Simulator", "/console/simulator", "daypass:SimulateAccess", _daypass("access")),
            NavigationItem("Why denied?", "/console/explain", "sts:DecodeAuthorizationMessage"),
        ),
    ),
    (
        "Directory",
        (
            NavigationItem("Users", "/console/users", "iam:ListUsers", "arn:aws:iam::{}:user/", ("/console/user",)),
            NavigationItem(
                "Groups", "/console/groups", "iam:ListGroups", "arn:aws:iam::{}:group/", ("/console/group",)
            ),
            NavigationItem("Access keys", "/console/keys", "daypass:ListLongLivedKeys", _daypass("access")),
            NavigationItem("MFA devices", "/console/devices", "iam:ListVirtualMFADevices", "arn:aws:iam::{}:mfa/"),
            NavigationItem(
                "Providers",
                "/console/providers",
                "iam:ListOpenIDConnectProviders",
                "arn:aws:iam::{}:oidc-provider/*",
                ("/console/provider",),
            ),
            NavigationItem(
                "Trust anchors",
                "/console/trust-anchors",
                "rolesanywhere:ListTrustAnchors",
                "*",
                ("/console/trust-anchor",),
            ),
            NavigationItem(
                "Clients", "/console/clients", "daypass:ListClients", _daypass("client"), ("/console/client",)
            ),
            NavigationItem(
                "Resource servers",
                "/console/resource-servers",
                "daypass:ListResourceServers",
                _daypass("resource-server"),
                ("/console/resource-server",),
            ),
        ),
    ),
    (
        "Administration",
        (
            NavigationItem("Dashboards", "/console/dashboard", "daypass:ReadAudit", _daypass("audit")),
            NavigationItem(
                "Approval rules",
                "/console/rules",
                "daypass:ListApprovalRules",
                _daypass("approval-rule"),
                ("/console/rule",),
            ),
            NavigationItem(
                "Reviews",
                "/console/reviews",
                "daypass:ListAccessReviews",
                _daypass("access-review"),
                ("/console/reviews",),
            ),
            NavigationItem(
                "Notifications",
                "/console/notifications",
                "daypass:ListNotificationChannels",
                _daypass("notification-channel"),
                ("/console/notifications",),
            ),
            NavigationItem(
                "Sent notifications",
                "/console/sent-notifications",
                "daypass:ListNotifications",
                _daypass("notification-channel"),
                ("/console/sent-notifications",),
            ),
            NavigationItem(
                "SCIM tokens",
                "/console/scim-tokens",
                "daypass:ListScimTokens",
                _daypass("scim-token"),
                ("/console/scim-tokens",),
            ),
            NavigationItem(
                "Event streams",
                "/console/event-streams",
                "daypass:ListEventStreams",
                _daypass("event-stream"),
                ("/console/event-streams",),
            ),
            NavigationItem(
                "Settings", "/console/settings", "daypass:ReadSettings", _daypass("settings"), operator=True
            ),
            NavigationItem(
                "First steps", "/console/start", "iam:ListGroups", "arn:aws:iam::{}:group/", ("/console/start",)
            ),
        ),
    ),
)


class Menu(NamedTuple):
    """The navigation of one person: the groups with the pages that their policies open, and all other pages."""

    groups: list[tuple[str, list[NavigationItem]]]
    closed: list[NavigationItem]


def menu(path: str, closed: Collection[str] = ()) -> Menu:
    """The navigation, with the page of `path` marked. `closed`: paths of the pages that the person may not open."""
    shown = [(name, [item._replace(current=_belongs(item, path)) for item in items]) for name, items in GROUPS]
    opened = [(name, [item for item in items if item.path not in closed]) for name, items in shown]
    others = [item for _, items in shown for item in items if item.path in closed]
    return Menu([(name, items) for name, items in opened if items], others)


def page_of(path: str) -> str:
    """The page in the navigation to which a path belongs; the first page for any other."""
    return next((item.path for _, items in GROUPS for item in items if _belongs(item, path)), HOME)


def _belongs(item: NavigationItem, path: str) -> bool:
    return path == item.path or any(path == each or path.startswith(f"{each}/") for each in item.paths)
