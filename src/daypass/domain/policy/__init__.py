"""AWS's IAM policy language: parse, match, evaluate, explain. Pure and synchronous.

Use `document.parse` at write time, `document.compile_stored` for stored documents, `evaluate.evaluate` to decide, and
`explain.explain` and `explain.denial_message` for the reasons. `model` defines the inputs and results.
`pattern.fold` gives the form in which context keys are compared.
"""
