"""The engine of all operations that create, read, update and delete directory entities: IAM and IAM Roles Anywhere."""
