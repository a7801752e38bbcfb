"""Every operation of IAM Roles Anywhere in Daypass: its resource, whether it reads or writes, and its function.

Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS IAM Roles Anywhere".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Final

from daypass.domain.context import requested_tags
from daypass.domain.directory import Crl, TrustAnchor, X509Profile, X509Subject
from daypass.domain.jws import SERVICE
from daypass.domain.policy.model import Value
from daypass.domain.ssf import CredentialChange
from daypass.operations.crud import Answer, AuthorizedResource, Params, Permission
from daypass.operations.crud_engine import Service
from daypass.operations.rolesanywhere import anchors, context, entity_kind, profiles
from daypass.operations.rolesanywhere.anchors import ANCHORS, CRLS, SUBJECTS
from daypass.operations.rolesanywhere.context import AnchorReadContext, AnchorWriteContext, Operation, ResourceOf
from daypass.operations.rolesanywhere.profiles import PROFILES
from daypass.ports import Call, Env, Scene, Tx


def _anything(_ctx: AnchorReadContext, _p: Params) -> AuthorizedResource:
    return AuthorizedResource("*")


def _named(kind: type[Any], parameter: str) -> ResourceOf:
    """The resource that a parameter names by id or ARN; a missing one, under the ARN that it would have."""

    def resource(ctx: AnchorReadContext, p: Params) -> AuthorizedResource:
        found = ctx.get(kind, p[parameter])
        return (
            AuthorizedResource(found.arn, tags=found.tags)
            if found is not None
            else AuthorizedResource(ctx.arn(kind, p[parameter]))
        )

    return resource


def _tagged(ctx: AnchorReadContext, p: Params) -> AuthorizedResource:
    found = entity_kind.named(ctx, p["resourceArn"])
    return AuthorizedResource(found.arn, tags=found.tags) if found is not None else AuthorizedResource(p["resourceArn"])


def _new_profile(_ctx: AnchorReadContext, p: Params) -> AuthorizedResource:
    return AuthorizedResource("*", also=_passing(p["roleArns"]))


def _changed_profile(ctx: AnchorReadContext, p: Params) -> AuthorizedResource:
    """Roles that are already in the profile need not be passed again."""
    profile = ctx.get(X509Profile, p["profileId"])
    if profile is None:
        return AuthorizedResource(ctx.arn(X509Profile, p["profileId"]))
    added = [arn for arn in p.get("roleArns") or () if arn not in profile.role_arns]
    return AuthorizedResource(profile.arn, _passing(added), profile.tags)


def _passing(role_arns: list[str]) -> tuple[Permission, ...]:
    """iam:PassRole: a caller who may not pass a role to this service may not offer it to certificates either."""
    context: Mapping[str, Value] = {"iam:passedtoservice": SERVICE}
    return tuple(Permission(arn, "iam:PassRole", context) for arn in dict.fromkeys(role_arns))


def _changed(change: str, ctx: AnchorWriteContext, _p: Params, answer: Answer) -> tuple[CredentialChange, ...]:
    """For event streams: of an operation on a trust anchor, which decides which certificates give access (`x509`, CAEP 1.0,
    3.3.1), or on a CRL, by which other certificates are revoked. They belong to the account, not to a principal.
    """
    arn = answer["trustAnchor"]["trustAnchorArn"] if "trustAnchor" in answer else answer["crl"]["crlArn"]
    return (CredentialChange(ctx.account, "", "x509", change, arn),)


def _request_tags(p: Params, _resource: AuthorizedResource) -> Mapping[str, Value]:
    return requested_tags(entity_kind.tags_of(p.get("tags")))


def _request_tag_keys(p: Params, _resource: AuthorizedResource) -> Mapping[str, Value]:
    return {"aws:tagkeys": tuple(p["tagKeys"])}


_ANCHOR = _named(TrustAnchor, "trustAnchorId")
_PROFILE = _named(X509Profile, "profileId")
_CRL = _named(Crl, "crlId")
_TAGS = (_request_tags,)
_CREATED, _UPDATED, _REVOKED, _DELETED = (
    partial(_changed, change) for change in ("create", "update", "revoke", "delete")
)

_ALL = (
    Operation(
        "CreateTrustAnchor",
        _anything,
        write=anchors.create_trust_anchor,
        keys=_TAGS,
        check=anchors.check_source,
        credential=_CREATED,
    ),
    Operation("GetTrustAnchor", _ANCHOR, read=ANCHORS.get),
    Operation("ListTrustAnchors", _anything, read=ANCHORS.list),
    Operation(
        "UpdateTrustAnchor", _ANCHOR, write=anchors.update_trust_anchor, check=anchors.check_source, credential=_UPDATED
    ),
    Operation("EnableTrustAnchor", _ANCHOR, write=ANCHORS.enable, credential=_UPDATED),
    Operation("DisableTrustAnchor", _ANCHOR, write=ANCHORS.disable, credential=_REVOKED, urgent=True),
    Operation("DeleteTrustAnchor", _ANCHOR, write=anchors.delete_trust_anchor, credential=_DELETED, urgent=True),
    Operation("PutNotificationSettings", _ANCHOR, write=anchors.put_notification_settings),
    Operation("ResetNotificationSettings", _ANCHOR, write=anchors.reset_notification_settings),
    Operation("CreateProfile", _new_profile, write=profiles.create_profile, keys=_TAGS, check=profiles.check_profile),
    Operation("GetProfile", _PROFILE, read=PROFILES.get),
    Operation("ListProfiles", _anything, read=PROFILES.list),
    Operation("UpdateProfile", _changed_profile, write=profiles.update_profile, check=profiles.check_profile),
    Operation("EnableProfile", _PROFILE, write=PROFILES.enable),
    Operation("DisableProfile", _PROFILE, write=PROFILES.disable, urgent=True),
    Operation("DeleteProfile", _PROFILE, write=PROFILES.delete, urgent=True),
    Operation("PutAttributeMapping", _PROFILE, write=profiles.put_attribute_mapping),
    Operation("DeleteAttributeMapping", _PROFILE, write=profiles.delete_attribute_mapping),
    Operation(
        "ImportCrl",
        _anything,
        write=anchors.import_crl,
        keys=_TAGS,
        check=anchors.check_import,
        credential=_UPDATED,
        urgent=True,
    ),
    Operation("GetCrl", _CRL, read=CRLS.get),
    Operation("ListCrls", _anything, read=CRLS.list),
    Operation(
        "UpdateCrl", _CRL, write=anchors.update_crl, check=anchors.check_update, credential=_UPDATED, urgent=True
    ),
    Operation("EnableCrl", _CRL, write=CRLS.enable, credential=_UPDATED, urgent=True),
    Operation("DisableCrl", _CRL, write=CRLS.disable, credential=_UPDATED),
    Operation("DeleteCrl", _CRL, write=CRLS.delete, credential=_UPDATED),
    Operation("GetSubject", _named(X509Subject, "subjectId"), read=SUBJECTS.get),
    Operation("ListSubjects", _anything, read=SUBJECTS.list),
    Operation("TagResource", _tagged, write=entity_kind.tag_resource, keys=_TAGS),
    Operation("UntagResource", _tagged, write=entity_kind.untag_resource, keys=(_request_tag_keys,)),
    Operation("ListTagsForResource", _tagged, read=entity_kind.list_tags_for_resource),
)

OPERATIONS: Final = MappingProxyType({operation.name: operation for operation in _ALL})
"""Operations by name."""


# --- IAM Roles Anywhere as a service of the directory


class RolesAnywhere(Service[AnchorReadContext, AnchorWriteContext]):
    """AWS IAM Roles Anywhere, 2018-05-10."""

    prefix: ClassVar = "rolesanywhere"
    instance: ClassVar = "ROLES_ANYWHERE"
    identifiers: ClassVar = (
        *("trustAnchorArn", "trustAnchorId", "profileArn", "profileId", "crlArn", "crlId"),
        *("subjectArn", "subjectId"),
    )
    changed: ClassVar = context.CHANGED

    @property
    def operations(self) -> Mapping[str, Operation]:
        return OPERATIONS

    def reading(self, scene: Scene, call: Call) -> AnchorReadContext:
        return AnchorReadContext(scene.tx, call.caller, call.facts, call.now, scene.certificates)

    def writing(self, env: Env, tx: Tx, call: Call, gathered: Any) -> AnchorWriteContext:
        del gathered
        return AnchorWriteContext(tx, call.caller, call.facts, call.now, env.certificates, env.ids)


ROLES_ANYWHERE = RolesAnywhere()
"""For `crud_engine.perform`."""
