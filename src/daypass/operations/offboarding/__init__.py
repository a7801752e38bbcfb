"""People who leave: everything that gives a user access ends in one transaction."""
