"""Access requests: who may ask for which role, who approves, and what a grant allows. Pure: no I/O, no clock.

`rule` parses approval rules, `terms` is the exact request, `person` decides who is the same person, `quorum` counts
votes, `request` and `grant` are the state machine.
"""
