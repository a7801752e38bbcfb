"""Services by the namespace of their actions, with the names that AWS shows for them. This module contains only data.

Other namespaces work too: one is shown under its own name, and found where a policy spells it out.
Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS services".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES: Final[Mapping[str, str]] = {
    "access-analyzer": "AWS IAM Access Analyzer",
    "acm": "AWS Certificate Manager",
    "apigateway": "Amazon API Gateway Management",
    "athena": "Amazon Athena",
    "autoscaling": "Amazon EC2 Auto Scaling",
    "backup": "AWS Backup",
    "batch": "AWS Batch",
    "bedrock": "Amazon Bedrock",
    "cloudformation": "AWS CloudFormation",
    "cloudfront": "Amazon CloudFront",
    "cloudtrail": "AWS CloudTrail",
    "cloudwatch": "Amazon CloudWatch",
    "codebuild": "AWS CodeBuild",
    "codepipeline": "AWS CodePipeline",
    "config": "AWS Config",
    "daypass": "Daypass",
    "dynamodb": "Amazon DynamoDB",
    "ec2": "Amazon EC2",
    "ecr": "Amazon Elastic Container Registry",
    "ecs": "Amazon Elastic Container Service",
    "eks": "Amazon Elastic Kubernetes Service",
    "elasticache": "Amazon ElastiCache",
    "elasticfilesystem": "Amazon Elastic File System",
    "elasticloadbalancing": "AWS Elastic Load Balancing V2",
    "es": "Amazon OpenSearch Service",
    "events": "Amazon EventBridge",
    "firehose": "Amazon Kinesis Firehose",
    "glue": "AWS Glue",
    "guardduty": "Amazon GuardDuty",
    "iam": "AWS Identity and Access Management",
    "kinesis": "Amazon Kinesis Data Streams",
    "kms": "AWS Key Management Service",
    "lambda": "AWS Lambda",
    "logs": "Amazon CloudWatch Logs",
    "organizations": "AWS Organizations",
    "rds": "Amazon RDS",
    "redshift": "Amazon Redshift",
    "rolesanywhere": "AWS Identity and Access Management Roles Anywhere",
    "route53": "Amazon Route 53",
    "s3": "Amazon S3",
    "sagemaker": "Amazon SageMaker",
    "secretsmanager": "AWS Secrets Manager",
    "securityhub": "AWS Security Hub",
    "sns": "Amazon SNS",
    "sqs": "Amazon SQS",
    "ssm": "AWS Systems Manager",
    "states": "AWS Step Functions",
    "sts": "AWS Security Token Service",
    "tag": "Amazon Resource Group Tagging API",
    "wafv2": "AWS WAF V2",
}

STS_ACTIONS: Final = (
    "AssumeRole",
    "AssumeRoleWithSAML",
    "AssumeRoleWithWebIdentity",
    "DecodeAuthorizationMessage",
    "GetAccessKeyInfo",
    "GetCallerIdentity",
    "GetFederationToken",
    "GetScopedCredentials",
    "GetSessionToken",
)
"""The actions of the token service whose use is tracked individually."""


def name_of(namespace: str) -> str:
    return NAMES.get(namespace, namespace)
