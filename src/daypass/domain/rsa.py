"""Which RSA public keys are accepted from any source: certificates, SAML metadata, key sets.

The time to verify a signature grows with the square of the modulus and with the length of the exponent. Both are
therefore limited before any arithmetic (attack A114). Pure: it receives only numbers.
"""

from __future__ import annotations

from typing import Final

MIN_BITS: Final = 2048
MAX_BITS: Final = 8192
MIN_EXPONENT: Final = 65_537  # FIPS 186-5, 5.4: the exponent is odd and greater than 2^16
END_OF_EXPONENTS: Final = 1 << 32


def refusal_of_rsa(modulus_bits: int, exponent: int) -> str:
    """Why a public key is not accepted, to follow the words "an RSA key "; "" when it is accepted."""
    if not MIN_BITS <= modulus_bits <= MAX_BITS:
        return f"of {modulus_bits} bits; {MIN_BITS} to {MAX_BITS} are accepted"
    if not MIN_EXPONENT <= exponent < END_OF_EXPONENTS or exponent % 2 == 0:
        return f"with a public exponent of {exponent.bit_length()} bits; an odd one from {MIN_EXPONENT} to 2^32 is accepted"
    return ""
