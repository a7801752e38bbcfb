"""Command lines of `test_json_output`, in an order in which each finds what it needs, and why some are not among them.

`$name` is filled in. A line begins with the profile that runs it and the exit status. The text after `->` is kept from the
document: `name=member.member`.
"""

from __future__ import annotations

PROFILES = """
root 0 profile ls
root 0 profile use root
root 0 profile export
root 0 status
root 0 whoami
admin 0 roles
"""

IDENTITIES = """
root 0 user create ann-$tag --key -> key=AccessKey.AccessKeyId secret=AccessKey.SecretAccessKey
root 0 login --endpoint $url --access-key-id $key --secret-access-key $secret --profile ann
root 0 user ls
root 0 find ann-$tag
root 0 group create g-$tag
root 0 group add g-$tag ann-$tag
root 0 group show g-$tag
root 0 group ls
root 0 policy create p-$tag $dir/allow.json
root 0 policy ls
root 0 policy update p-$tag $dir/other.json --yes
root 0 policy update p-$tag $dir/other.json --yes
root 0 policy show p-$tag
root 0 user attach ann-$tag p-$tag
root 0 user put ann-$tag inline $dir/assume.json
root 0 user policies ann-$tag
root 0 user show ann-$tag
root 0 group attach g-$tag p-$tag
root 0 group put g-$tag inline $dir/allow.json
root 0 group put g-$tag inline $dir/allow.json
root 0 group policies g-$tag
root 0 role create r-$tag --principal user/ann-$tag --principal user/admin
root 0 role attach r-$tag aws/ReadOnlyAccess
root 0 role put r-$tag inline $dir/allow.json
root 0 role policies r-$tag
root 0 role set r-$tag --chained-max 2h
root 0 role trust r-$tag $dir/trust.json --yes
root 0 role show r-$tag
root 0 role ls
root 0 iam GetUser UserName=ann-$tag
ann 0 browser ls
root 0 key create --user ann-$tag -> key2=AccessKeyId
root 0 key ls --user ann-$tag
root 0 key inventory
root 0 key disable $key2 --user ann-$tag
root 0 key enable $key2 --user ann-$tag
root 0 key rm $key2 --user ann-$tag --yes
admin 0 assume r-$tag
admin 0 assume --unset
admin 0 roles
root 0 mfa ls --user ann-$tag
ann 0 mfa add --no-browser
root 0 scim create dir-$tag --user ann-$tag
root 0 scim ls
root 0 scim rm dir-$tag --yes
"""

ACCESS = """
root 0 simulate user/ann-$tag --action iam:ListUsers
root 1 simulate user/ann-$tag --action s3:GetObject
root 0 access who-can iam:ListUsers
root 0 find ann-$tag
root 0 access what-can user/ann-$tag
root 0 lint $dir/allow.json --fail-on never
root 0 rule apply $dir/rules
root 0 rule ls
root 0 rule show r-$tag
root 0 rule diff $dir/rules
root 0 oncall ls
ann 0 request roles
ann 0 access own
ann 0 request suggest iam:ListUsers
ann 0 request create r-$tag --reason "to see the users" -> request=id
ann 0 request ls
root 0 request show $request --examine
admin 0 request approve $request --reason fine
ann 0 request extend $request --for 5m --reason "some more time" -> longer=id
ann 0 request cancel $longer
ann 0 request done $request
ann 0 request create r-$tag --reason "to see them again" -> request=id
admin 0 request deny $request --reason no
admin 0 request create r-$tag --reason "ann sees them" --beneficiary arn:aws:iam::$account:user/ann-$tag -> request=id
ann 0 request accept $request
mfa 0 certificate issue database app --key $dir/app
mfa 0 request create r-$tag --reason "nobody answers" --break-glass --confirm r-$tag -> request=id
root 0 review ls
root 0 review close $request --finding "it was needed"
root 0 rule rm r-$tag --yes
root 0 notify set ops-$tag webhook https://ops.example/hook
root 0 notify set ops-$tag webhook https://ops.example/other --yes
root 0 notify ls
root 0 notify test ops-$tag
root 0 notify log
root 0 notify rm ops-$tag --yes
mfa 0 mfa recovery-codes --yes
mfa 0 notify chat-code
ann 0 notify chat-users
"""

FEDERATION = """
root 0 client create app-$tag token_endpoint_auth_method=client_secret_basic 'grant_types=["client_credentials"]' 'fapi_exceptions=["client_secret"]' -> client=client_id
root 0 client ls
root 0 client show $client
root 0 client set $client --name other-$tag
root 0 client secret create $client -> client_secret=id
root 0 client secret rm $client $client_secret --yes
root 0 client rm $client --yes
root 0 consent ls ann-$tag
root 0 resource-server put https://api-$tag.example.com --scope read
root 0 resource-server put https://api-$tag.example.com --scope write --yes
root 0 resource-server ls
root 0 resource-server show https://api-$tag.example.com
root 0 resource-server metadata https://api-$tag.example.com
root 0 resource-server rm https://api-$tag.example.com --yes
root 0 provider add https://ci-$tag.example.com --client-id daypass leeway_seconds=30
root 0 provider ls
root 0 provider set ci-$tag.example.com leeway_seconds=10 --yes
root 0 provider show ci-$tag.example.com
root 1 provider keys ci-$tag.example.com
root 0 pod-identity add prod/shop/a-$tag r-$tag --issuer ci-$tag.example.com
root 0 pod-identity ls
root 0 pod-identity rm prod/shop/a-$tag --yes
root 0 provider allow set ci-$tag.example.com
root 0 provider allow ls
root 0 provider allow off --yes
root 0 provider rm ci-$tag.example.com --yes
root 0 trust new github --repo acme/shop --branch main --role t-$tag --apply
root 1 trust test t-$tag --token $dir/token
root 0 anchor create plant-$tag $dir/ca.pem -> anchor=trustAnchorId
root 0 anchor ls
root 0 anchor show $anchor
root 0 anchor set $anchor --name press-$tag --yes
root 0 anchor disable $anchor
root 0 anchor enable $anchor
root 0 anchor rm $anchor --yes
admin 0 bridge aws --subject $role
admin 0 bridge gcp --subject $role
admin 0 bridge azure --subject $role
admin 0 bridge vault --subject $role
admin 0 bridge seaweedfs --subject $role --policy $dir/allow.json
admin 0 bridge token sts.example.com
root 0 certificate fetch --krl $dir/krl-$tag --crl $dir/crl-$tag
admin 0 token --audience https://unregistered-$tag.example
root 0 stream create -> stream=stream_id
root 0 stream ls
root 0 stream set $stream paused
root 0 stream events $stream
root 0 stream rm $stream --yes
"""

OPERATION = """
root 0 account create tenant-$tag -> tenant=id
root 0 account ls
root 0 guardrail put $tenant g $dir/allow.json
root 0 guardrail put $tenant g $dir/other.json --yes
root 0 guardrail ls $tenant
root 0 guardrail show $tenant g
root 0 guardrail rm $tenant g --yes
root 0 sessions ls -> session=0.session_id
root 0 sessions show $session
root 0 revoke session $session --dry-run
root 0 revoke source-identity eve-$tag --block --force -> revocation=id
root 0 revocations ls
root 0 revocations lift $revocation
root 0 dashboard
root 0 settings
admin 0 probe
admin 0 audit anomalies
admin 0 monitoring $dir/monitoring
admin 1 doctor
admin 0 gameday ls
admin 0 support-bundle $dir/support-$tag.tar.gz
root 0 audit verify
root 0 audit show $log/1
root 0 audit prove $log/1
root 0 explain $denied
root 0 offboard ann-$tag --dry-run
"""

OFFLINE = """
root 0 clock show --data $data
root 0 server-keys ls --data $data
root 0 backup keygen $dir/key -> recipient=recipient
root 0 backup create $dir/backup.age --recipient $recipient --data $data
root 0 backup drill $dir/backup.age --identity $dir/key --data $data
root 0 backup restore $dir/backup.age --identity $dir/key --data $dir/restored
root 0 server-keys rotate --data $data
root 0 server-keys rotate --emergency --yes --data $data
root 0 server-keys rewrap --yes --data $data
root 0 clock reset --yes --data $data
"""

AWAY = """
root 0 user detach ann-$tag p-$tag --yes
root 0 group detach g-$tag p-$tag --yes
root 0 role detach r-$tag aws/ReadOnlyAccess --yes
root 0 group remove g-$tag ann-$tag --yes
root 0 group rm g-$tag --force --yes
root 0 role rm r-$tag --force --yes
root 0 user rm ann-$tag --force --yes
root 0 policy rm p-$tag --yes
root 0 profile rm ann --yes
root 0 logout admin
"""

STREAMED = {"audit tail": "a record a line", "audit search": "a record a line"}
"""Commands that print one document a line with --output json."""

SCRIPTED = {
    "agent status": "needs an agent",
    "browser end": "needs a browser in which somebody has signed in",
    "consent rm": "needs a person who signs in with a browser",
    "mfa rename": "needs a passkey",
    "mfa rm": "needs a device",
    "notify chat-unlink": "needs a chat user",
    "notify retry": "needs a notification that could not be delivered",
    "oncall show": "needs a calendar",
    "stream retry": "needs an event that could not be delivered",
}
"""Commands of `test_commands`, which runs them over a scripted server, and what they would need from a real one."""
