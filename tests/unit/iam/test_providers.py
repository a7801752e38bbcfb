"""OpenID Connect and SAML providers: what may be trusted, and what is kept of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.saml_idp import ec_key, metadata, pem, rsa_key, when
from tests.unit.iam.memory import ALPHA, BETA, NOW, World, allow, policy, refusal

from daypass.domain.directory import OidcProvider, SamlProvider
from daypass.domain.errors import ErrorKind
from daypass.operations.iam import paging

URL = "https://idp.example.com"
OIDC = f"arn:aws:iam::{ALPHA}:oidc-provider/idp.example.com"
SAML = f"arn:aws:iam::{ALPHA}:saml-provider/corp"
METADATA = metadata([ec_key()])


async def _oidc(world: World, url: str = URL, **more: Any) -> str:
    return str((await world.call("CreateOpenIDConnectProvider", Url=url, **more))["OpenIDConnectProviderArn"])


async def _saml(world: World, name: str = "corp", document: str = METADATA, **more: Any) -> str:
    call = world.call("CreateSAMLProvider", Name=name, SAMLMetadataDocument=document, **more)
    return str((await call)["SAMLProviderArn"])


# --- OpenID Connect --------------------------------------------------------------------------------------------------


async def test_create_oidc_provider_is_shown_as_it_was_written(world: World) -> None:
    prints = ["A" * 40, "b" * 40]
    made = await world.call(
        "CreateOpenIDConnectProvider",
        Url=f"{URL}/Tenant/",
        ClientIDList=["sts.amazonaws.com", "b", "b"],
        ThumbprintList=prints,
        Tags=[{"Key": "k", "Value": "v"}],
    )
    assert made == {"OpenIDConnectProviderArn": f"{OIDC}/Tenant/", "Tags": [{"Key": "k", "Value": "v"}]}
    assert await world.call("GetOpenIDConnectProvider", OpenIDConnectProviderArn=f"{OIDC}/Tenant/") == {
        "Url": "idp.example.com/Tenant/",
        "ClientIDList": ["sts.amazonaws.com", "b"],
        "ThumbprintList": prints,
        "CreateDate": NOW,
        "Tags": [{"Key": "k", "Value": "v"}],
    }
    assert (await world.call("CreateOpenIDConnectProvider", Url=URL)) == {"OpenIDConnectProviderArn": OIDC}
    listed = (await world.call("ListOpenIDConnectProviders"))["OpenIDConnectProviderList"]
    assert listed == [{"Arn": OIDC}, {"Arn": f"{OIDC}/Tenant/"}]
    assert (await world.call("GetAccountSummary"))["SummaryMap"]["Providers"] == 2


@pytest.mark.parametrize(
    "url",
    [
        "example.com",
        "http://example.com",
        "HTTPS://example.com",
        "https://",
        "https:///path",
        "https://user@example.com",
        "https://example.com?x=1",
        "https://example.com/a?b",
        "https://example.com/#f",
        "https://example.com/a b",
        "https://example.com/%zz",
        "https://example.com\n",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:８0",
        "https://-a.example.com",
        "https://a..example.com",
        "https://éxample.com",
        "https://exa\0mple.com",
        "https://aws",  # its claims would be keys of the request
        "https://example.com/a:b",
    ],
)
async def test_create_oidc_provider_of_no_issuer_url_refused(world: World, url: str) -> None:
    with refusal(ErrorKind.VALIDATION, "Invalid Open ID Connect Provider URL"):
        await _oidc(world, url)


@pytest.mark.parametrize("rest", ["", "/", "/a/b", ":8443/realms/x", "/%C3%A9/~a;b=c"])
async def test_create_oidc_provider_takes_path_and_port(world: World, rest: str) -> None:
    assert await _oidc(world, URL + rest) == OIDC + rest


async def test_create_oidc_provider_twice_refused(world: World) -> None:
    await _oidc(world)
    with refusal(ErrorKind.ALREADY_EXISTS, f"Provider with url {URL} already exists."):
        await _oidc(world)
    await world.call("CreateOpenIDConnectProvider", world.root(BETA), Url=URL)


async def test_oidc_provider_limits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusal(ErrorKind.INVALID_INPUT, "Thumbprint list must contain fewer than 5 entries."):
        await _oidc(world, ThumbprintList=[f"{n:040}" for n in range(6)])
    many = [str(n) for n in range(101)]
    full = "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100"
    with refusal(ErrorKind.LIMIT_EXCEEDED, full):
        await _oidc(world, ClientIDList=many)
    await _oidc(world, ClientIDList=many[:100])
    with refusal(ErrorKind.LIMIT_EXCEEDED, full):
        await world.call("AddClientIDToOpenIDConnectProvider", OpenIDConnectProviderArn=OIDC, ClientID="more")
    monkeypatch.setattr(paging, "OIDC_PROVIDERS_PER_ACCOUNT", 1)
    with refusal(ErrorKind.LIMIT_EXCEEDED, "Cannot exceed quota for OpenIdConnectProvidersPerAccount: 1"):
        await _oidc(world, "https://other.example.com")


async def test_oidc_provider_client_ids_and_thumbprints_change(world: World) -> None:
    named = {"OpenIDConnectProviderArn": await _oidc(world, ClientIDList=["a"], ThumbprintList=["a" * 40])}
    for client_id in ("b", "b"):
        await world.call("AddClientIDToOpenIDConnectProvider", **named, ClientID=client_id)
    for client_id in ("a", "none"):
        await world.call("RemoveClientIDFromOpenIDConnectProvider", **named, ClientID=client_id)
    await world.call("UpdateOpenIDConnectProviderThumbprint", **named, ThumbprintList=["c" * 40, "d" * 40])
    shown = await world.call("GetOpenIDConnectProvider", **named)
    assert (shown["ClientIDList"], shown["ThumbprintList"]) == (["b"], ["c" * 40, "d" * 40])


async def test_oidc_provider_changes_keep_its_other_settings(world: World) -> None:
    await _oidc(world)
    stored = world.tx.get(OidcProvider, account=ALPHA, url="idp.example.com")
    assert stored is not None
    world.tx.replace(OidcProvider(ALPHA, stored.url, stored.created_at, settings='{"one_time":true}'))
    await world.call("AddClientIDToOpenIDConnectProvider", OpenIDConnectProviderArn=OIDC, ClientID="a")
    changed = world.tx.get(OidcProvider, account=ALPHA, url="idp.example.com")
    assert changed is not None
    assert (changed.settings, changed.client_ids) == ('{"one_time":true}', ("a",))


async def test_missing_oidc_provider_is_refused_as_aws_words_it(world: World) -> None:
    await _oidc(world)
    await world.call("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=OIDC)
    gone = f"OpenIDConnect Provider not found for arn {OIDC}"
    for name, more in (
        ("GetOpenIDConnectProvider", {}),
        ("AddClientIDToOpenIDConnectProvider", {"ClientID": "a"}),
        ("UpdateOpenIDConnectProviderThumbprint", {"ThumbprintList": []}),
        ("ListOpenIDConnectProviderTags", {}),
    ):
        with refusal(ErrorKind.NOT_FOUND, gone):
            await world.call(name, OpenIDConnectProviderArn=OIDC, **more)
    with refusal(ErrorKind.NOT_FOUND, f"OpenId connect Provider {OIDC} cannot be found."):
        await world.call("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=OIDC)


@pytest.mark.parametrize(
    ("arn", "kind"),
    [
        ("no-arn-but-twenty-characters", ErrorKind.VALIDATION),
        (f"arn:aws:iam::{ALPHA}:saml-provider/x", ErrorKind.INVALID_INPUT),
        (f"arn:aws:sts::{ALPHA}:oidc-provider/x", ErrorKind.INVALID_INPUT),
    ],
)
async def test_oidc_provider_arn_of_something_else_refused(world: World, arn: str, kind: ErrorKind) -> None:
    with refusal(kind, f"ARN {arn} is not valid."):
        await world.call("GetOpenIDConnectProvider", OpenIDConnectProviderArn=arn)


async def test_providers_of_another_account_are_denied_there_or_not(world: World) -> None:
    await _oidc(world)
    await _saml(world)
    stranger = world.root(BETA)
    for arn, name, parameter in (
        (OIDC, "DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn"),
        (SAML, "DeleteSAMLProvider", "SAMLProviderArn"),
    ):
        for there_or_not in (arn, f"{arn}x"):
            with refusal(
                ErrorKind.ACCESS_DENIED,
                f"User: arn:aws:iam::{BETA}:root is not authorized to perform: iam:{name} on resource: {there_or_not} "
                f"because no resource-based policy allows the iam:{name} action",
            ):
                await world.call(name, stranger, **{parameter: there_or_not})
    assert (await world.call("ListOpenIDConnectProviders", stranger))["OpenIDConnectProviderList"] == []


async def test_providers_are_authorized_by_their_arns(world: World) -> None:
    await _oidc(world)
    await _oidc(world, "https://other.example.com")
    await _saml(world)
    await world.call("CreateUser", UserName="ann")
    document = policy(allow(["iam:GetOpenIDConnectProvider", "iam:GetSAMLProvider"], [OIDC, SAML]))
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
    ann = world.as_user("ann")
    await world.call("GetOpenIDConnectProvider", ann, OpenIDConnectProviderArn=OIDC)
    await world.call("GetSAMLProvider", ann, SAMLProviderArn=SAML)
    for name, params in (
        ("GetOpenIDConnectProvider", {"OpenIDConnectProviderArn": OIDC.replace("idp", "other")}),
        ("GetSAMLProvider", {"SAMLProviderArn": f"{SAML}2"}),
        ("ListSAMLProviders", {}),
        ("CreateOpenIDConnectProvider", {"Url": "https://new.example.com"}),
        ("CreateSAMLProvider", {"Name": "new", "SAMLMetadataDocument": "x"}),
    ):
        with refusal(ErrorKind.ACCESS_DENIED):
            await world.call(name, ann, **params)


async def test_provider_tags_are_paged_and_short_markers_name_long_keys(world: World) -> None:
    keys = [f"{'語' * 127}{n}" for n in range(5)] + ["a", "A"]
    named = {"OpenIDConnectProviderArn": await _oidc(world)}
    await world.call("TagOpenIDConnectProvider", **named, Tags=[{"Key": key, "Value": ""} for key in keys])
    found: list[str] = []
    more: dict[str, Any] = {}
    while True:
        page = await world.call("ListOpenIDConnectProviderTags", **named, MaxItems=2, **more)
        found += [tag["Key"] for tag in page["Tags"]]
        if not page["IsTruncated"]:
            break
        assert len(page["Marker"]) <= 320
        more = {"Marker": page["Marker"]}
    assert sorted(found) == sorted(keys)
    assert found[:2] == ["A", "a"]
    await world.call("UntagOpenIDConnectProvider", **named, TagKeys=keys[:6])
    assert (await world.call("ListOpenIDConnectProviderTags", **named))["Tags"] == [{"Key": "A", "Value": ""}]


@pytest.mark.parametrize("name", ["ContextProvider", "IdentityCenterInstanceArn"])
async def test_what_is_not_supported_of_a_provider_is_refused_not_ignored(world: World, name: str) -> None:
    with refusal(ErrorKind.INVALID_INPUT, f"{name} is not supported by this service."):
        await _oidc(world, **{name: "x"})
    with refusal(ErrorKind.INVALID_INPUT, f"{name} is not supported by this service."):
        await _saml(world, **{name: "x"})


# --- SAML ------------------------------------------------------------------------------------------------------------


async def test_create_saml_provider_echoes_its_document(world: World) -> None:
    assert await _saml(world) == SAML
    shown = dict(await world.call("GetSAMLProvider", SAMLProviderArn=SAML))
    assert shown.pop("SAMLProviderUUID").startswith("ASPR")
    century = shown.pop("ValidUntil") - NOW
    assert 99 * 365 * 86_400_000 < century < 101 * 366 * 86_400_000
    assert shown == {
        "SAMLMetadataDocument": METADATA,
        "CreateDate": NOW,
        "Tags": [],
        "AssertionEncryptionMode": "Allowed",
        "PrivateKeyList": [],
    }
    listed = (await world.call("ListSAMLProviders"))["SAMLProviderList"]
    assert listed == [{"Arn": SAML, "CreateDate": NOW, "ValidUntil": NOW + century}]


async def test_saml_provider_is_valid_until_its_metadata_says(world: World) -> None:
    await _saml(world, document=metadata([ec_key()], valid_until=when(NOW + 60_000)))
    assert (await world.call("GetSAMLProvider", SAMLProviderArn=SAML))["ValidUntil"] == NOW + 60_000
    await world.call("UpdateSAMLProvider", SAMLProviderArn=SAML, SAMLMetadataDocument=METADATA)
    assert (await world.call("GetSAMLProvider", SAMLProviderArn=SAML))["ValidUntil"] > NOW + 60_000


@pytest.mark.parametrize(
    "document",
    [
        "a" * 1024,
        METADATA[:-10],
        METADATA.replace("IDPSSODescriptor", "SPSSODescriptor"),
        METADATA.replace("X509Certificate", "X509Certificat"),
        METADATA.replace("?>", '?><!DOCTYPE x [<!ENTITY e "e">]>', 1),
        METADATA.replace("entityID", "entityid"),
    ],
    ids=["no XML", "cut", "no identity provider", "no certificate", "document type", "no entity"],
)
async def test_saml_metadata_that_names_no_identity_provider_refused(world: World, document: str) -> None:
    with pytest.raises(Exception, match="Could not parse metadata") as caught:
        await _saml(world, document=document)
    assert caught.value.kind is ErrorKind.INVALID_INPUT  # type: ignore[attr-defined]
    await _saml(world)
    with pytest.raises(Exception, match="Could not parse metadata"):
        await world.call("UpdateSAMLProvider", SAMLProviderArn=SAML, SAMLMetadataDocument=document)
    assert (await world.call("GetSAMLProvider", SAMLProviderArn=SAML))["SAMLMetadataDocument"] == METADATA


async def test_saml_provider_names_are_unique_whatever_their_case(world: World) -> None:
    await _saml(world)
    with refusal(ErrorKind.ALREADY_EXISTS, "Provider with name CORP already exists."):
        await _saml(world, "CORP")
    with refusal(ErrorKind.NOT_FOUND, f"Manifest not found for arn {SAML.replace('corp', 'Corp')}"):
        await world.call("GetSAMLProvider", SAMLProviderArn=SAML.replace("corp", "Corp"))


async def test_saml_provider_quota(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SAML_PROVIDERS_PER_ACCOUNT", 1)
    await _saml(world)
    with refusal(ErrorKind.LIMIT_EXCEEDED):
        await _saml(world, "second")


async def test_saml_private_keys_are_sealed_for_their_provider_and_never_shown(world: World) -> None:
    secret = pem(rsa_key()).decode()
    await _saml(world, AddPrivateKey=secret, AssertionEncryptionMode="Required")
    shown = await world.call("GetSAMLProvider", SAMLProviderArn=SAML)
    (key,) = shown["PrivateKeyList"]
    assert key["Timestamp"] == NOW
    assert len(key["KeyId"]) == 22  # the least that RemovePrivateKey takes
    stored = world.tx.get(SamlProvider, account=ALPHA, name="corp")
    assert stored is not None
    sealed = base64.b64decode(stored.private_keys[0][2])
    assert world.env.sealer.open_secret(sealed, ALPHA, stored.id).decode() == secret
    line = secret.splitlines()[1]
    assert line not in json.dumps([dict(event.detail) for event in world.journal.events])
    assert line not in repr(shown)


async def test_saml_private_keys_are_at_most_two_and_can_be_exchanged(world: World) -> None:
    await _saml(world, AddPrivateKey=pem(rsa_key()).decode())
    update = {"SAMLProviderArn": SAML, "AddPrivateKey": pem(rsa_key("second")).decode()}
    assert await world.call("UpdateSAMLProvider", **update) == {"SAMLProviderArn": SAML}
    first, second = (await world.call("GetSAMLProvider", SAMLProviderArn=SAML))["PrivateKeyList"]
    with refusal(ErrorKind.LIMIT_EXCEEDED, "Cannot exceed quota for PrivateKeysPerSAMLProvider: 2"):
        await world.call("UpdateSAMLProvider", **update)
    await world.call("UpdateSAMLProvider", **update, RemovePrivateKey=first["KeyId"])
    kept = (await world.call("GetSAMLProvider", SAMLProviderArn=SAML))["PrivateKeyList"]
    assert kept[0]["KeyId"] == second["KeyId"]
    with refusal(ErrorKind.NOT_FOUND, f"The private key with id {first['KeyId']} cannot be found."):
        await world.call("UpdateSAMLProvider", SAMLProviderArn=SAML, RemovePrivateKey=first["KeyId"])
    for key in kept:
        await world.call("UpdateSAMLProvider", SAMLProviderArn=SAML, RemovePrivateKey=key["KeyId"])
    with refusal(ErrorKind.INVALID_INPUT):
        await world.call("UpdateSAMLProvider", SAMLProviderArn=SAML, AssertionEncryptionMode="Required")


@pytest.mark.parametrize("key", ["none", pem(ec_key()).decode()], ids=["no PEM", "no RSA"])
async def test_saml_private_key_that_decrypts_nothing_refused(world: World, key: str) -> None:
    with refusal(ErrorKind.INVALID_INPUT):
        await _saml(world, AddPrivateKey=key)
    assert world.tx.count(SamlProvider) == 0


async def test_saml_providers_are_tagged(world: World) -> None:
    await _saml(world, Tags=[{"Key": "k", "Value": "v"}])
    await world.call("TagSAMLProvider", SAMLProviderArn=SAML, Tags=[{"Key": "K", "Value": "w"}])
    await world.call("UntagSAMLProvider", SAMLProviderArn=SAML, TagKeys=["k"])
    assert (await world.call("ListSAMLProviderTags", SAMLProviderArn=SAML))["Tags"] == [{"Key": "K", "Value": "w"}]
    assert (await world.call("GetSAMLProvider", SAMLProviderArn=SAML))["Tags"] == [{"Key": "K", "Value": "w"}]
    await world.call("DeleteSAMLProvider", SAMLProviderArn=SAML)
    assert (await world.call("ListSAMLProviders"))["SAMLProviderList"] == []
