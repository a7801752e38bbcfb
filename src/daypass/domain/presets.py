"""Known token issuers: the claims of their tokens, which claims identify a customer, and how to write a tight trust policy.

One table for `provider add`, `trust new`, the linter and the check at write time. It is maintained by hand from the
issuers' documentation. An issuer is trusted only after an account creates a provider for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from daypass.domain.policy.pattern import fold

REGISTERED: Final = frozenset(
    {"iss", "sub", "aud", "oaud", "exp", "nbf", "iat", "jti", "azp", "amr", "acr", "auth_time", "nonce"}
)
"""Claims of RFC 7519 and OpenID Connect Core that any issuer may send, and `oaud`, which AWS derives from them."""

_AWS: Final = ("https:~1~1aws.amazon.com~1", "https://aws.amazon.com/")  # the first is the claim's path

_EXACT: Final = r"[^*?]+\Z"
"""The pattern of a claim that identifies a customer only as a whole."""


PULL_REQUESTS: Final = "pull-requests"
"""The parameter, without a value, that is required before a policy admits pull request jobs."""


@dataclass(frozen=True, slots=True)
class SubjectForm:
    """One form of `sub`: its parameters, and the template that combines them and `{tenant}`. `like` when `*` is a wildcard.

    `admits` warns of jobs that the subject also admits unexpectedly; "" when there are none.
    """

    parameters: tuple[str, ...]
    sub: str
    like: bool = False
    admits: str = ""


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of issuer."""

    name: str  # as in commands
    title: str  # as people call it
    issuer: str  # its URL without `https://`, with `{tenant}` where every customer has a separate issuer
    audience: str  # the recommended audience; may contain `{tenant}`; "" where only the customer can know it
    # Claims of its tokens other than the registered ones; nested ones by path, a `*` at the end for any.
    claims: tuple[str, ...]
    forms: tuple[SubjectForm, ...]  # templates of the subject, the tightest first
    # Claim to the beginning that a value must have, as a regular expression, to identify one customer.
    pins: Mapping[str, str] = field(default_factory=dict)
    tenant: str = ""  # describes `{tenant}` for people; "" for an issuer that all customers share
    paths: tuple[str, ...] = ()  # parameters that are OWNER/NAME: a name alone would match no token
    # Whether a trust policy that does not restrict the customer is refused when it is written, as in AWS.
    demanded: bool = False
    # Whether its tokens always have an `azp`, so that the audience is `oaud` (see `domain.web_identity`).
    authorized_party: bool = False
    # Provider settings that it needs; values may contain `{tenant}`.
    settings: Mapping[str, str] = field(default_factory=dict)
    note: str = ""  # a common mistake

    @property
    def shared(self) -> bool:
        """Whether all its customers share one issuer, so that `aud` alone does not distinguish them."""
        return not self.tenant

    def url(self, tenant: str = "") -> str:
        """The issuer of a customer, without `https://`."""
        return self.issuer.format(tenant=tenant)

    def sends(self, claim: str) -> bool:
        """Whether its tokens can have the claim (a path, see `domain.web_identity`) or one within it. Case is ignored."""
        wanted = fold(claim)
        if wanted in REGISTERED or wanted.startswith(_AWS):
            return True
        return any(
            wanted == known or wanted.startswith(known[:-1] if known.endswith("*") else f"{known}/")
            for known in map(fold, self.claims)
        )


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ALL: Final = (
    Preset(
        name="github",
        title="GitHub Actions",
        issuer="token.actions.githubusercontent.com",
        audience="sts.amazonaws.com",
        claims=_words(
            "repository repository_id repository_owner repository_owner_id repository_visibility ref ref_type "
            "ref_protected environment environment_node_id workflow workflow_ref workflow_sha job_workflow_ref "
            "job_workflow_sha actor actor_id event_name head_ref base_ref run_id run_number run_attempt "
            "runner_environment sha enterprise enterprise_id check_run_id issuer_scope repo_property_*"
        ),
        forms=(
            SubjectForm(("repo", "environment"), "repo:{repo}:environment:{environment}"),
            SubjectForm(("repo", "branch"), "repo:{repo}:ref:refs/heads/{branch}"),
            SubjectForm(("repo", "tag"), "repo:{repo}:ref:refs/tags/{tag}"),
            SubjectForm(
                ("repo", PULL_REQUESTS),
                "repo:{repo}:pull_request",
                admits="jobs of every pull request: anyone who can open one can run code as this role",
            ),
        ),
        pins={
            "sub": r"(?:repo:[^/@*?]+[/@]|(?:repository|repository_owner|repository_id|repository_owner_id|"
            r"job_workflow_ref):[^:/*?]+[:/])|repository_owner(?:_id)?:[^:*?]+\Z",
            "repository": r"[^/*?]+/",
            "repository_owner": _EXACT,
            "repository_id": _EXACT,
            "repository_owner_id": _EXACT,
            "job_workflow_ref": r"[^/*?]+/",
            "workflow_ref": r"[^/*?]+/",
            "enterprise": _EXACT,
            "enterprise_id": _EXACT,
        },
        paths=("repo",),
        demanded=True,
        note="Repositories made, renamed or moved since July 2026 go by --repo OWNER@OWNER_ID/NAME@NAME_ID: see "
        "sub_claim_prefix of `gh api repos/OWNER/NAME/actions/oidc/customization/sub`.",
    ),
    Preset(
        name="gitlab",
        title="GitLab CI",
        issuer="gitlab.com",
        audience="https://gitlab.com",
        claims=_words(
            "namespace_id namespace_path project_id project_path project_visibility user_id user_login user_email "
            "user_access_level user_identities pipeline_id pipeline_source job_id job_project_id job_project_path "
            "ref ref_type ref_path ref_protected environment environment_protected environment_action "
            "deployment_tier runner_id runner_environment sha ci_config_ref_uri ci_config_sha groups_direct "
            "job_namespace_id job_namespace_path"
        ),
        forms=(
            SubjectForm(("project", "branch"), "project_path:{project}:ref_type:branch:ref:{branch}"),
            SubjectForm(("project", "tag"), "project_path:{project}:ref_type:tag:ref:{tag}"),
        ),
        pins={
            "sub": r"project_path:[^/*?]+/",
            "project_path": r"[^/*?]+/",
            "namespace_path": r"[^/*?]+(?:/|\Z)",
            "project_id": _EXACT,
            "namespace_id": _EXACT,
        },
        paths=("project",),
        demanded=True,
    ),
    Preset(
        name="buildkite",
        title="Buildkite",
        issuer="agent.buildkite.com",
        audience="sts.amazonaws.com",
        claims=_words(
            "organization_slug organization_id pipeline_slug pipeline_id build_number build_branch build_tag "
            "build_commit build_source build_id step_key job_id agent_id cluster_id cluster_name queue_id queue_key "
            "runner_environment agent_tag:*"
        ),
        forms=(
            SubjectForm(
                ("org", "pipeline", "branch"),
                "organization:{org}:pipeline:{pipeline}:ref:refs/heads/{branch}:commit:*",
                like=True,
            ),
        ),
        pins={
            "sub": r"organization:[^:*?]+:",
            "organization_slug": _EXACT,
            "organization_id": _EXACT,
            "pipeline_id": _EXACT,
        },
        demanded=True,
    ),
    Preset(
        name="circleci",
        title="CircleCI",
        issuer="oidc.circleci.com/org/{tenant}",
        audience="{tenant}",
        tenant="the organization's id",
        claims=_words("oidc.circleci.com~1*"),
        forms=(
            SubjectForm(
                ("project",),
                "org/{tenant}/project/{project}/user/*",
                like=True,
                admits="jobs of every branch; the subject names none",
            ),
        ),
        note="Organization and project go by their ids, not their names; claims are oidc.circleci.com~1project-id and so on.",
    ),
    Preset(
        name="bitbucket",
        title="Bitbucket Pipelines",
        issuer="api.bitbucket.org/2.0/workspaces/{tenant}/pipelines-config/identity/oidc",
        audience="",
        tenant="the workspace's name",
        claims=_words(
            "repositoryUuid workspaceUuid pipelineUuid stepUuid pipelineRunUuid deploymentEnvironmentUuid branchName"
        ),
        forms=(
            SubjectForm(("repo", "environment"), "{repo}:{environment}:*", like=True),
            SubjectForm(
                ("repo", PULL_REQUESTS), "{repo}:*", like=True, admits="steps of every branch and of every pull request"
            ),
        ),
        note="The audience is ari:cloud:bitbucket::workspace/UUID of the workspace; repository and environment go by "
        "their UUIDs in braces: see the repository's OpenID Connect settings.",
    ),
    Preset(
        name="terraform",
        title="HCP Terraform",
        issuer="app.terraform.io",
        audience="aws.workload.identity",
        claims=_words(
            "terraform_organization_id terraform_organization_name terraform_project_id terraform_project_name "
            "terraform_workspace_id terraform_workspace_name terraform_full_workspace terraform_run_id "
            "terraform_run_phase"
        ),
        forms=(
            SubjectForm(
                ("org", "project", "workspace", "phase"),
                "organization:{org}:project:{project}:workspace:{workspace}:run_phase:{phase}",
            ),
            SubjectForm(
                ("org", "project", "workspace"),
                "organization:{org}:project:{project}:workspace:{workspace}:run_phase:*",
                like=True,
                admits="speculative plans, which a pull request can start; --phase apply excludes them",
            ),
        ),
        pins={
            "sub": r"organization:[^:*?]+:",
            "terraform_organization_id": _EXACT,
            "terraform_organization_name": _EXACT,
            "terraform_project_id": _EXACT,
            "terraform_workspace_id": _EXACT,
            "terraform_full_workspace": r"organization:[^:*?]+:",
        },
        demanded=True,
    ),
    Preset(
        name="kubernetes",
        title="Kubernetes",
        issuer="{tenant}",
        audience="sts.amazonaws.com",
        tenant="the cluster's issuer, without https://",
        claims=_words("kubernetes.io/*"),
        forms=(SubjectForm(("namespace", "service-account"), "system:serviceaccount:{namespace}:{service-account}"),),
    ),
    Preset(
        name="google",
        title="Google",
        issuer="accounts.google.com",
        audience="",
        claims=_words("email email_verified hd name picture given_name family_name at_hash google/*"),
        forms=(SubjectForm(("subject",), "{subject}"),),
        pins={"sub": _EXACT, "email": _EXACT, "hd": _EXACT, "aud": _EXACT, "oaud": _EXACT},
        demanded=True,
        authorized_party=True,
        note="Tokens have an authorized party (azp), which must be a client id of the provider as well: of a service account "
        "it is its unique id, which is its subject too.",
    ),
    Preset(
        name="azure",
        title="Microsoft Entra ID",
        issuer="sts.windows.net/{tenant}/",
        audience="",
        tenant="the directory's (tenant's) id",
        claims=_words(
            "appid appidacr oid tid ver idp uti rh wids roles groups xms_mirid xms_az_rid idtyp aio email "
            "preferred_username name upn unique_name family_name given_name ipaddr scp"
        ),
        forms=(SubjectForm(("object",), "{object}"),),
        note="The audience is the Application ID URI (api://…) of the app registration that tokens are asked for. If that "
        "registration asks for tokens of version 2, the issuer is https://login.microsoftonline.com/TENANT/v2.0.",
    ),
    Preset(
        name="okta",
        title="Okta",
        issuer="{tenant}",
        audience="",
        tenant="the authorization server's issuer, without https:// (org.okta.com/oauth2/default)",
        claims=_words("email email_verified name preferred_username groups ver cid uid scp idp"),
        forms=(SubjectForm(("subject",), "{subject}"),),
        note="The audience of an ID token is the client id of the application; that of an access token is set at the "
        "authorization server (api://default at first).",
    ),
    Preset(
        name="spiffe",
        title="SPIFFE",
        issuer="{tenant}",
        audience="sts.amazonaws.com",
        tenant="the trust domain, or the issuer that its tokens name, without https://",
        claims=(),
        forms=(SubjectForm(("trust-domain", "path"), "spiffe://{trust-domain}{path}"),),
        settings={"spiffe_trust_domain": "{tenant}"},
        note="If tokens name an issuer, say spiffe_trust_domain=… with `daypass provider add`; without a discovery "
        "document, jwks_url=… or jwks_file=… of the bundle.",
    ),
)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({preset.name: preset for preset in _ALL})
"""Presets by name."""

_TENANCY: Final = (  # claim that identifies the customer, name of the issuer, issuer: AWS's other "shared OIDC providers"
    ("sub", "GitHub", "vstoken.actions.githubusercontent.com"),
    ("sub", "GitHub audit log streaming", "oidc-configuration.audit-log.githubusercontent.com"),
    ("sub", "Codefresh", "oidc.codefresh.io"),
    ("sub", "DVC Studio", "studio.datachain.ai/api"),
    ("sub", "Scalr", "scalr.io"),
    ("sub", "Shisho Cloud", "tokens.cloud.shisho.dev"),
    ("sub", "Upbound", "proidc.upbound.io"),
    ("aud", "Pulumi Cloud", "api.pulumi.com/oidc"),
    ("aud", "sandboxes.cloud", "sandboxes.cloud"),
    ("aud", "Vercel", "oidc.vercel.com"),
)
_SHARED: Final = tuple(
    Preset(
        name="",
        title=title,
        issuer=issuer,
        audience="",
        claims=("*",),  # their claims are not known here
        forms=(),
        pins={claim: r"[^*?]" if claim == "sub" else _EXACT},
        demanded=True,
    )
    for claim, title, issuer in _TENANCY
)
_BY_ISSUER: Final = {preset.issuer: preset for preset in (*_ALL, *_SHARED) if preset.shared}
_TENANTED: Final = tuple(
    (re.compile(re.escape(preset.issuer).replace(r"\{tenant\}", "[^/]+")), preset)
    for preset in _ALL
    if preset.tenant and preset.issuer != "{tenant}"
)


def preset_of(url: str) -> Preset | None:
    """The known facts about an issuer (without `https://`); None if it is not in the tables.

    The result is a preset or, without a name and forms, only the claim that identifies the customer of a shared issuer.
    """
    found = _BY_ISSUER.get(url)
    if found is not None:
        return found
    return next((preset for pattern, preset in _TENANTED if pattern.fullmatch(url)), None)
