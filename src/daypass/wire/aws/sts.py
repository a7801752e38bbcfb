"""The operations of AWS STS 2011-06-15 that are served here: AWS's members to typed requests, and results to AWS's
members.

Nothing is decided here. The dispatcher answers operations outside the table as unsupported. Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from daypass.domain.arn import assumed_role_arn, federated_user_arn
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import SessionClaims, has_policies_or_tags, scope_downs
from daypass.operations.access.subject import decode_authorization_message as decode
from daypass.operations.assume import proofs
from daypass.operations.assume.forms import AnswerForm, AwsCredentials, AwsForm
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode
from daypass.operations.assume.request import MAX_POLICY_ARNS, AssumeRequest, SessionRequest
from daypass.operations.crud_engine import perform, perform_rendered
from daypass.operations.iam.context import Operation
from daypass.operations.iam.service import IAM
from daypass.operations.iam.service import OPERATIONS as _TABLE
from daypass.operations.oauth import web_identity_token
from daypass.operations.oauth.web_identity_token import WebIdentityRequest
from daypass.operations.sessions import own
from daypass.ports import Call, Env
from daypass.wire.aws.dispatch import METHODS, AwsEndpoint, OperationHandler, Render, RenderingHandler, services_from
from daypass.wire.aws.json import decoded_message
from daypass.wire.aws.models import load
from daypass.wire.front import Front
from daypass.wire.routing import Route

Params = Mapping[str, Any]
Answer = Mapping[str, Any]
T = TypeVar("T")


# --- Roles -----------------------------------------------------------------------------------------------------------


async def assume_role(env: Env, call: Call, params: Params, render: Callable[[Answer], T]) -> T:
    """The answer, rendered while the session is recorded."""
    request = AssumeRequest(
        params["RoleArn"], _session(params, params["RoleSessionName"]), params.get("ExternalId", "")
    )

    def answer(session: SessionClaims, credentials: AwsCredentials) -> T:
        return render(_assumed(session, credentials))

    form: AnswerForm[T] = AnswerForm(_form(params), answer)
    issued = await proofs.assume_role(env, call, request, form, _mfa(params))
    return issued.credential


async def assume_role_with_web_identity(env: Env, call: Call, params: Params) -> Answer:
    session = _session(params, params["RoleSessionName"])
    token, provider_id = params["WebIdentityToken"], params.get("ProviderId") or ""
    given = await proofs.assume_role_with_web_identity(
        env, call, params["RoleArn"], token, session, _form(params), provider_id
    )
    proof = given.proof
    return {
        **_assumed(given.issued.session, given.issued.credential),
        "SubjectFromWebIdentityToken": proof.subject,
        "Provider": proof.provider,
        "Audience": proof.audience,
    }


async def assume_role_with_saml(env: Env, call: Call, params: Params) -> Answer:
    given = await proofs.assume_role_with_saml(
        env,
        call,
        params["RoleArn"],
        params["PrincipalArn"],
        params["SAMLAssertion"],
        _session(params, ""),
        _form(params),
    )
    proof = given.proof
    return {
        **_assumed(given.issued.session, given.issued.credential),
        "Subject": proof.subject,
        "SubjectType": proof.keys["saml:sub_type"],
        "Issuer": proof.issuer,
        "Audience": proof.audience,
        "NameQualifier": proof.keys["saml:namequalifier"],
    }


# --- The caller's own sessions ---------------------------------------------------------------------------------------


async def get_session_token(env: Env, call: Call, params: Params) -> Answer:
    seconds = params.get("DurationSeconds")
    issued = await own.get_session_token(env, call, seconds, _form(params), _mfa(params))
    return _credentials(issued.session, issued.credential)


async def get_federation_token(env: Env, call: Call, params: Params) -> Answer:
    issued = await own.get_federation_token(env, call, _session(params, params["Name"]), _form(params))
    session = issued.session
    return {
        **_credentials(session, issued.credential),
        "FederatedUser": {
            "FederatedUserId": session.principal_id,
            "Arn": federated_user_arn(session.account, session.name),
        },
        "PackedPolicySize": issued.credential.utilization if has_policies_or_tags(session) else 0,
    }


async def get_scoped_credentials(env: Env, call: Call, params: Params) -> Answer:
    issued = await own.get_scoped_credentials(
        env,
        call,
        params.get("Policy", ""),
        params.get("DurationSeconds"),
        _form(params),
        params.get("ScopedSessionDescription", ""),
    )
    return {
        **_credentials(issued.session, issued.credential),
        **_source_identity(issued.session),
        "SessionInfo": {"ScopedSessionId": call.caller.user_id, "Arn": call.caller.arn},
        "ScopedPoliciesCount": len(scope_downs(issued.session)),
    }


async def get_caller_identity(env: Env, call: Call, _: Params) -> Answer:
    caller = await own.get_caller_identity(env, call)
    return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}


async def get_access_key_info(env: Env, call: Call, params: Params) -> Answer:
    return {"Account": await own.get_access_key_info(env, call, params["AccessKeyId"])}


async def decode_authorization_message(env: Env, call: Call, params: Params) -> Answer:
    return {"DecodedMessage": decoded_message(await decode(env, call, params["EncodedMessage"]))}


async def get_web_identity_token(env: Env, call: Call, params: Params) -> Answer:
    if params.get("SubjectMode", "AWSIdentity") != "AWSIdentity" or params.get("Scope"):
        raise DaypassError(
            ErrorKind.INVALID_PARAMETER, "Only the subject mode AWSIdentity is supported, which has no Scope."
        )
    tags = tuple([(tag["Key"], tag["Value"]) for tag in params.get("Tags") or ()])
    request = WebIdentityRequest(
        tuple(params["Audience"]), params["SigningAlgorithm"], params.get("DurationSeconds"), tags
    )
    token = await web_identity_token.get_web_identity_token(env, call, request)
    return {"WebIdentityToken": token.text, "Expiration": token.expires_at}


STS_OPERATIONS: Final[Mapping[str, OperationHandler | RenderingHandler]] = {
    "AssumeRole": RenderingHandler(assume_role),
    "AssumeRoleWithSAML": assume_role_with_saml,
    "AssumeRoleWithWebIdentity": assume_role_with_web_identity,
    "DecodeAuthorizationMessage": decode_authorization_message,
    "GetAccessKeyInfo": get_access_key_info,
    "GetCallerIdentity": get_caller_identity,
    "GetFederationToken": get_federation_token,
    "GetScopedCredentials": get_scoped_credentials,
    "GetSessionToken": get_session_token,
    "GetWebIdentityToken": get_web_identity_token,
}


# --- Members to requests ---------------------------------------------------------------------------------------------


def _session(params: Params, name: str) -> SessionRequest:
    """The session parameters of a request. Context assertions are refused, because they would have no effect."""
    if params.get("ProvidedContexts"):
        raise DaypassError(ErrorKind.INVALID_PARAMETER, "ProvidedContexts is not supported.")
    arns, tags = params.get("PolicyArns"), params.get("Tags")
    if arns and len(arns) > MAX_POLICY_ARNS:
        raise DaypassError(
            ErrorKind.VALIDATION,
            "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_POLICY_ARNS}",
        )
    return SessionRequest(
        name,
        params.get("DurationSeconds"),
        params.get("Policy", ""),
        tuple([item.get("arn", "") for item in arns]) if arns else (),
        tuple([(tag["Key"], tag["Value"]) for tag in tags]) if tags else (),
        tuple(params.get("TransitiveTagKeys") or ()),
        params.get("SourceIdentity", ""),
    )


def _form(params: Params) -> AwsForm:
    return AwsForm(params.get("MinimumSessionTokenSize") or 0)


def _mfa(params: Params) -> MfaCode:
    serial_number, code = params.get("SerialNumber", ""), params.get("TokenCode", "")
    return MfaCode(serial_number, code) if serial_number or code else NO_CODE


# --- Results to members ----------------------------------------------------------------------------------------------


def _credentials(session: SessionClaims, credentials: AwsCredentials) -> dict[str, Any]:
    return {
        "Credentials": {
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret,
            "SessionToken": credentials.token,
            "Expiration": session.expires_at,
        },
        "SessionTokenUtilization": credentials.utilization,
        "SessionTokenSize": len(credentials.token),
    }


def _assumed(session: SessionClaims, credentials: AwsCredentials) -> dict[str, Any]:
    answer = _credentials(session, credentials)
    answer["AssumedRoleUser"] = {
        "AssumedRoleId": f"{session.principal_id}:{session.name}",
        "Arn": assumed_role_arn(session.account, session.arn.rpartition("/")[2], session.name),
    }
    # As AWS documents it; the member is left out of a session without policies and tags.
    answer["PackedPolicySize"] = credentials.utilization if has_policies_or_tags(session) else None
    return answer | _source_identity(session) if session.source_identity else answer


def _source_identity(session: SessionClaims) -> dict[str, str]:
    return {"SourceIdentity": session.source_identity} if session.source_identity else {}


# --- The path of the AWS query protocol


def aws_routes(front: Front, home: str = "") -> tuple[Route, ...]:
    """The one path. The operation follows from Version and Action. `home`: see `AwsEndpoint`."""
    endpoint = AwsEndpoint(front, services_from(load, {"sts": STS_OPERATIONS, "iam": IAM_OPERATIONS}), home)
    return (Route("/", endpoint, "The AWS query protocol: STS and IAM", METHODS, endpoint.errors),)


# --- IAM 2010-05-08 on the wire: which operations there are, and who runs them


def _handler(operation: Operation) -> OperationHandler | RenderingHandler:
    async def handle(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return await perform(env, call, IAM, operation, params)

    async def rendered(env: Env, call: Call, params: Mapping[str, Any], render: Render) -> bytes:
        return await perform_rendered(env, call, IAM, operation, params, render)

    return RenderingHandler(rendered) if operation.heavy and operation.read is not None else handle


IAM_OPERATIONS: Final[Mapping[str, OperationHandler | RenderingHandler]] = {
    name: _handler(row) for name, row in _TABLE.items()
}
"""Supported operations by name. Any other answers that it is not supported."""
