"""The paths of the console. A page that changes something is a form, and is reached by POST only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from daypass.wire.console import (
    approvals,
    dashboards,
    finder,
    graph,
    home,
    policies,
    providers,
    record,
    roles,
    sessions,
    setup,
    simulator,
    users,
)
from daypass.wire.console.context import Console, ConsolePage, get_handler, post_handler
from daypass.wire.console.described import Pages, described_routes
from daypass.wire.console.members import CONSOLE_ERRORS
from daypass.wire.console.navigation import HOME, SETUP, page_of
from daypass.wire.console.providers import anchor_changes, provider_changes
from daypass.wire.console.users import group_changes, user_changes
from daypass.wire.endpoints.endpoint import Endpoint
from daypass.wire.routing import GET, POST, Route
from daypass.wire.web.render import PAGE_ERRORS

_REQUEST = "/console/access-request"
_CHANGES = (
    *user_changes(),
    *group_changes(),
    *provider_changes(),
    *anchor_changes(),
    *roles.role_changes(roles.one),
    *sessions.session_changes(),
)


Show: TypeAlias = "Callable[..., Route]"


def console_routes(console: Console, endpoints: Sequence[Endpoint]) -> tuple[Route, ...]:
    """Every path with its handler. `endpoints`: what performs the operations of described pages."""

    def show(path: str, serve: ConsolePage, summary: str, operation: str = "") -> Route:
        return Route(path, get_handler(console, serve, operation), summary, GET, CONSOLE_ERRORS, operation)

    def form(path: str, serve: ConsolePage, summary: str, operation: str) -> Route:
        page = _REQUEST if path.startswith(f"{_REQUEST}/") else page_of(path)
        return Route(path, post_handler(console, serve, operation), summary, POST, CONSOLE_ERRORS, operation, page)

    site, first = console.site, "daypass:CreateFirstAdministrator"
    return (
        Route(SETUP, site.handler("", setup.page(console)), "The form for the first administrator", GET, PAGE_ERRORS),
        Route(
            f"{SETUP}/create",
            site.handler(first, setup.create(console), setup.ERRORS),
            "Makes the first administrator",
            POST,
            setup.ERRORS,
            first,
            SETUP,
        ),
        Route(
            "/console/inbox/events",
            get_handler(console, home.events, idle=True),
            "Changes of the inbox as an event",
            GET,
            CONSOLE_ERRORS,
        ),
        *_access(show, form),
        *_use(show, form),
        *_directory(show, form),
        *_administration(show, form),
        *described_routes(Pages(endpoints), show, form),
    )


def _access(show: Show, form: Show) -> tuple[Route, ...]:
    """A person's own access, requests and approvals."""
    return (
        show(HOME, home.home, "Console: the person's own access", "daypass:GetOwnAccess"),
        show("/console", home.to_home, "Redirects to the console"),
        show("/console/find", finder.page, "Console: finds anything", "daypass:Find"),
        show("/console/inbox", home.page, "Console: the inbox", "daypass:GetOwnAccess"),
        show("/console/extend", home.extend_form, "Console: the form to extend access", "daypass:GetAccessRequest"),
        form("/console/extend/send", home.extend, "Requests more time", "daypass:ExtendAccessRequest"),
        show("/console/request", approvals.form, "Console: the form to request access", "daypass:ListRequestableRoles"),
        form("/console/request/send", approvals.send, "Requests access", "daypass:CreateAccessRequest"),
        show(
            "/console/approvals",
            approvals.inbox,
            "Console: requests that wait for a vote",
            "daypass:ListAccessRequests",
        ),
        show(_REQUEST, approvals.show, "Console: one access request", "daypass:GetAccessRequest"),
        form(f"{_REQUEST}/approve", approvals.approve, "Approves a request", "daypass:ApproveAccessRequest"),
        form(f"{_REQUEST}/deny", approvals.deny, "Denies a request", "daypass:DenyAccessRequest"),
        form(f"{_REQUEST}/accept", approvals.accept, "Accepts a request for oneself", "daypass:AcceptAccessRequest"),
        form(f"{_REQUEST}/cancel", approvals.cancel, "Takes a request back", "daypass:CancelAccessRequest"),
        form(f"{_REQUEST}/done", home.finish, "Ends the access of a request", "daypass:FinishAccessRequest"),
        show("/console/credentials", home.form, "Console: the form for credentials", "daypass:GetOwnAccess"),
        form("/console/credentials/show", home.show, "Shows credentials once", "sts:AssumeRole"),
    )


def _use(show: Show, form: Show) -> tuple[Route, ...]:
    """Sessions, roles, the record and decisions."""
    return (
        show("/console/sessions", sessions.listed, "Console: sessions", "daypass:ListSessions"),
        show("/console/session", sessions.one, "Console: one session with its chain", "daypass:GetSession"),
        show("/console/timeline", record.page, "Console: what happened over time", "daypass:ReadAudit"),
        show("/console/revoke", sessions.revoke_form, "Console: revoking with a preview", "daypass:RevokeSession"),
        form("/console/revoke/send", sessions.revoke_send, "Revokes sessions", "daypass:RevokeSession"),
        show("/console/roles", roles.listed, "Console: roles", "iam:ListRoles"),
        show(roles.EDIT, roles.page, "Console: the form of a role", "iam:GetRole"),
        show(policies.EDIT, policies.page, "Console: the form of an inline policy", "iam:GetUserPolicy"),
        show("/console/pick", roles.pick, "Console: values that complete a field", "daypass:Find"),
        form("/console/lint", roles.findings, "Lints a document", "daypass:LintPolicies"),
        show("/console/graph", graph.page, "Console: who can assume what, as a picture", "daypass:WhoCanAccess"),
        show("/console/role", roles.one, "Console: one role", "iam:GetRole"),
        form(
            "/console/role/report",
            roles.report,
            "Makes a report on the use of a role's permissions",
            "iam:GenerateServiceLastAccessedDetails",
        ),
        show("/console/records", record.search, "Console: the record explorer", "daypass:ReadAudit"),
        show("/console/record", record.one, "Console: one record and its proof", "daypass:ReadAudit"),
        show("/console/simulator", simulator.simulator, "Console: the simulator", "daypass:SimulateAccess"),
        show("/console/explain", simulator.explain, "Console: explains a denial", "sts:DecodeAuthorizationMessage"),
    )


def _directory(show: Show, form: Show) -> tuple[Route, ...]:
    """Users, groups, keys, devices, providers, trust anchors, clients and resource servers."""
    oidc = "iam:GetOpenIDConnectProvider"
    return (
        show("/console/users", users.users, "Console: users", "iam:ListUsers"),
        show("/console/user", users.user, "Console: one user", "iam:GetUser"),
        show("/console/groups", users.groups, "Console: groups", "iam:ListGroups"),
        show("/console/group", users.group, "Console: one group", "iam:GetGroup"),
        show("/console/devices", users.mfa_devices, "Console: MFA devices", "iam:ListVirtualMFADevices"),
        show(
            "/console/providers", providers.providers, "Console: identity providers", "iam:ListOpenIDConnectProviders"
        ),
        show("/console/provider", providers.provider, "Console: one identity provider", oidc),
        show("/console/trust-anchors", providers.anchors, "Console: trust anchors", "rolesanywhere:ListTrustAnchors"),
        show("/console/trust-anchor", providers.anchor, "Console: one trust anchor", "rolesanywhere:GetTrustAnchor"),
        *(form(each.path, each.serve, each.summary, each.operation) for each in _CHANGES),
    )


def _administration(show: Show, form: Show) -> tuple[Route, ...]:
    """Approval rules, reviews, notifications, settings and first steps."""
    return (
        show("/console/rules", approvals.listed, "Console: approval rules", "daypass:ListApprovalRules"),
        show("/console/rule", approvals.one, "Console: one approval rule", "daypass:GetApprovalRule"),
        *(form(each.path, each.serve, each.summary, each.operation) for each in approvals.rule_changes()),
        show(
            "/console/reviews", approvals.reviews, "Console: reviews of emergency access", "daypass:ListAccessReviews"
        ),
        form("/console/reviews/close", approvals.close_review, "Closes a review", "daypass:CloseAccessReview"),
        show("/console/dashboard", dashboards.dashboard, "Console: dashboards", "daypass:ReadAudit"),
        show("/console/dashboard/events", dashboards.events, "Figures of a dashboard as an event", "daypass:ReadAudit"),
        show("/console/dashboard/export", dashboards.export, "Figures of a dashboard as a file", "daypass:ReadAudit"),
        show("/console/settings", setup.settings_page, "Console: settings", "daypass:ReadSettings"),
        show("/console/start", setup.start, "Console: first steps", "iam:ListGroups"),
        *(form(each.path, each.serve, each.summary, each.operation) for each in setup.setup_changes()),
    )
