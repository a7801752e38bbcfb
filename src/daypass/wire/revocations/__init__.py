"""Distribution of revocations to verifiers: status lists and the event stream."""
