"""The navigation of the console: its pages in groups."""

from __future__ import annotations

from typing import Final, NamedTuple

HOME: Final = "/console/"
SETUP: Final = "/console/setup"


class Item(NamedTuple):
    """A page in the navigation. `paths`: pages that belong to it. `current`: it is the page that is shown."""

    title: str
    path: str
    paths: tuple[str, ...] = ()
    current: bool = False


GROUPS: Final[tuple[tuple[str, tuple[Item, ...]], ...]] = (
    (
        "Access",
        (
            Item("Home", HOME, ("/console/extend", "/console/credentials")),
            Item("Request access", "/console/request", ("/console/request",)),
            Item("Approvals", "/console/approvals", ("/console/access-request",)),
        ),
    ),
    (
        "Use",
        (
            Item("Sessions", "/console/sessions", ("/console/session", "/console/revoke")),
            Item("Roles", "/console/roles", ("/console/role",)),
            Item("Record", "/console/records", ("/console/record",)),
            Item("Simulator", "/console/simulator"),
            Item("Why denied?", "/console/explain"),
        ),
    ),
    (
        "Directory",
        (
            Item("Users", "/console/users", ("/console/user",)),
            Item("Groups", "/console/groups", ("/console/group",)),
            Item("Access keys", "/console/keys"),
            Item("MFA devices", "/console/devices"),
            Item("Providers", "/console/providers", ("/console/provider",)),
            Item("Trust anchors", "/console/trust-anchors", ("/console/trust-anchor",)),
            Item("Clients", "/console/clients", ("/console/client",)),
            Item("Resource servers", "/console/resource-servers", ("/console/resource-server",)),
        ),
    ),
    (
        "Administration",
        (
            Item("Dashboards", "/console/dashboard"),
            Item("Approval rules", "/console/rules", ("/console/rule",)),
            Item("Reviews", "/console/reviews", ("/console/reviews",)),
            Item("Notifications", "/console/notifications", ("/console/notifications",)),
            Item("Settings", "/console/settings"),
            Item("First steps", "/console/start", ("/console/start",)),
        ),
    ),
)


def navigation(path: str) -> list[tuple[str, list[Item]]]:
    """The groups, with the page of `path` marked."""
    return [(name, [item._replace(current=_belongs(item, path)) for item in items]) for name, items in GROUPS]


def page_of(path: str) -> str:
    """The page in the navigation to which a path belongs; the first page for any other."""
    return next((item.path for _, items in GROUPS for item in items if _belongs(item, path)), HOME)


def _belongs(item: Item, path: str) -> bool:
    return path == item.path or any(path == each or path.startswith(f"{each}/") for each in item.paths)
