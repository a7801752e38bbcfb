"""The rows of the IAM operations: resource, whether it reads or writes, and the function that executes it."""
