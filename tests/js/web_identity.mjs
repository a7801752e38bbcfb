// The AWS SDK for JavaScript v3 with a pod's standard environment alone: AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE,
// AWS_ENDPOINT_URL_STS. Prints who it is.
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { fromNodeProviderChain } from "@aws-sdk/credential-providers";

const sts = new STSClient({ credentials: fromNodeProviderChain() });
try {
  console.log(JSON.stringify({ arn: (await sts.send(new GetCallerIdentityCommand({}))).Arn }));
} catch (error) {
  console.log(JSON.stringify({ name: error.name, message: error.message }));
}
