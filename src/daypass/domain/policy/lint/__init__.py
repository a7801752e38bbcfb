"""The linter: finds policies that probably do not say what their author meant. Pure; it makes no access decisions."""
