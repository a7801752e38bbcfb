"""The linter: what a policy probably says against the will of its author. Pure; it decides nothing at run time."""
