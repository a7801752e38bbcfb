"""Pages for browsers: cookies, CSRF tokens, Content-Security-Policy, templates and static files; and the sign-in.

Other wire packages build their pages on `context` and `render`. Pages run no script, except
those that ask for a passkey, and are never cached. The
Host header is never used: addresses are the configured ones (attack A88).
"""
