// Who a stock JavaScript client is, with nothing said in code: region, endpoint and credentials come from outside.
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const found = await new STSClient({}).send(new GetCallerIdentityCommand({}));
console.log(JSON.stringify({ arn: found.Arn }));
