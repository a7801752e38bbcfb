// The main job with the AWS SDK for JavaScript v3, unmodified: standard environment, a user and a role, borrow it, be bounded.
// Prints one JSON object of what it saw.
import { CreateRoleCommand, CreateUserCommand, GetUserCommand, IAMClient, paginateListRoles, PutRolePolicyCommand } from "@aws-sdk/client-iam";
import { AssumeRoleCommand, GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { fromTemporaryCredentials } from "@aws-sdk/credential-providers";

const [, , suffix] = process.argv;
const endpoint = process.env.AWS_ENDPOINT_URL;
const iam = new IAMClient({});
const sts = new STSClient({});
const seen = {};

const policy = (statement) => JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", ...statement }] });
const failure = async (work) => {
  try {
    await work();
    return null;
  } catch (error) {
    return { name: error.name, message: error.message, status: error.$metadata?.httpStatusCode, encoded: Boolean(error.EncodedAuthorizationMessage) };
  }
};

const me = await sts.send(new GetCallerIdentityCommand({}));
seen.me = me.Arn;
const user = await iam.send(new CreateUserCommand({ UserName: `js-${suffix}`, Path: "/js/", Tags: [{ Key: "from", Value: "js" }] }));
seen.user = { arn: user.User.Arn, created: user.User.CreateDate instanceof Date, tags: user.User.Tags };
const trust = policy({ Principal: { AWS: me.Arn }, Action: ["sts:AssumeRole", "sts:TagSession"] });
const role = await iam.send(new CreateRoleCommand({ RoleName: `js-${suffix}`, AssumeRolePolicyDocument: trust, MaxSessionDuration: 7200 }));
seen.trust = decodeURIComponent(role.Role.AssumeRolePolicyDocument) === trust;
await iam.send(new PutRolePolicyCommand({ RoleName: `js-${suffix}`, PolicyName: "p", PolicyDocument: policy({ Action: "iam:Get*", Resource: "*" }) }));

const borrowed = await sts.send(new AssumeRoleCommand({
  RoleArn: role.Role.Arn,
  RoleSessionName: "js",
  DurationSeconds: 900,
  Tags: [{ Key: "team", Value: "web" }],
  Policy: policy({ Action: ["iam:GetUser", "iam:ListRoles"], Resource: "*" }),
}));
seen.expires = (borrowed.Credentials.Expiration - Date.now()) / 1000;
const credentials = {
  accessKeyId: borrowed.Credentials.AccessKeyId,
  secretAccessKey: borrowed.Credentials.SecretAccessKey,
  sessionToken: borrowed.Credentials.SessionToken,
};
const bounded = new IAMClient({ endpoint, credentials });
seen.allowed = (await bounded.send(new GetUserCommand({ UserName: `js-${suffix}` }))).User.Arn;
seen.denied = await failure(() => bounded.send(new CreateUserCommand({ UserName: "never" })));
seen.missing = await failure(() => iam.send(new GetUserCommand({ UserName: `none-${suffix}` })));
seen.twice = await failure(() => iam.send(new CreateUserCommand({ UserName: `js-${suffix}` })));
seen.invalid = await failure(() => iam.send(new CreateUserCommand({ UserName: "no spaces!" })));

// The SDK's own provider, which borrows and renews by itself.
const provider = fromTemporaryCredentials({ params: { RoleArn: role.Role.Arn, RoleSessionName: "provider" }, clientConfig: { endpoint } });
seen.provider = (await new STSClient({ endpoint, credentials: provider }).send(new GetCallerIdentityCommand({}))).Arn;

const names = [];
for await (const page of paginateListRoles({ client: iam, pageSize: 1 }, { PathPrefix: "/" })) {
  names.push(...page.Roles.map((found) => found.RoleName));
}
seen.listed = names.includes(`js-${suffix}`) && new Set(names).size === names.length;
console.log(JSON.stringify(seen));
