"""AWS's IAM policy language: parse, match, evaluate, explain. Pure and synchronous.

Use `document.parse` at write time, `document.compile_stored` for what is stored, `evaluate.evaluate` to decide,
`explain.explain` and `explain.denial_message` to say why; `model` holds the shapes that go in and come out.
`pattern.fold` is the form in which context keys compare.
"""
