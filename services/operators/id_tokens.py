"""ID tokens: whether one is the provider's, for this site, of this very sign-in, and of now (OpenID Connect Core, 3.1.3.7)."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt

from services.operators.provider import Provider

ALGORITHMS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""The algorithms that are believed, each with the type of its keys; none goes by a secret that both sides share."""
LEEWAY_SECONDS: Final = 60
LEAST_BITS: Final = 2048
MOST_CHARACTERS: Final = 64 * 1024
_LONGEST: Final = 255


class TokenRefused(Exception):
    """The ID token isn't believed; the message says why, in words for operators."""


async def read_id_token(token: object, provider: Provider, client_id: str, nonce: str) -> Mapping[str, Any]:
    """Return the claims of an ID token that is right in everything. Raises TokenRefused, ProviderAway."""
    if not isinstance(token, str) or len(token) > MOST_CHARACTERS:
        raise TokenRefused("it sent no ID token")
    claims = _verified(token, await _keys(token, provider), provider.issuer, client_id)
    if not isinstance(claims.get("nonce"), str) or not hmac.compare_digest(claims["nonce"].encode(), nonce.encode()):
        raise TokenRefused("the ID token is of another sign-in")
    parties = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", client_id if len(parties) == 1 else None) != client_id:
        raise TokenRefused("the ID token was made for another site")
    subject = claims["sub"]  # printable: PostgreSQL holds neither NUL nor half a surrogate pair
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST or not subject.isprintable():
        raise TokenRefused("the ID token names nobody")
    return claims


async def _keys(token: str, provider: Provider) -> Sequence[jwt.PyJWK]:
    """Return the keys that may have signed a token: of its name, and of the type of its algorithm."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise TokenRefused("the ID token can't be read") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or not isinstance(kid, str | None):
        raise TokenRefused("the ID token is signed in a way that isn't believed")
    fitting = list[jwt.PyJWK]()
    for key in await provider.keys(kid):
        if key.get("kty") == ALGORITHMS[algorithm] and key.get("alg", algorithm) == algorithm:
            fitting += _key(key, algorithm)
    if len(fitting) != 1:  # without a name, several would have to be tried
        raise TokenRefused("the ID token is signed under a key that the provider doesn't show")
    return fitting


def _key(key: Mapping[str, Any], algorithm: str) -> Sequence[jwt.PyJWK]:
    try:
        made = jwt.PyJWK(dict(key), algorithm)
    except jwt.PyJWTError:
        return ()
    is_long = ALGORITHMS[algorithm] != "RSA" or made.key.key_size >= LEAST_BITS
    return (made,) if is_long else ()


def _verified(token: str, keys: Sequence[jwt.PyJWK], issuer: str, client_id: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            keys[0],
            algorithms=[keys[0].algorithm_name],
            audience=client_id,
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except jwt.ExpiredSignatureError:
        raise TokenRefused("the ID token is too old: see to the clocks of both sides") from None
    except jwt.ImmatureSignatureError:
        raise TokenRefused("the ID token is of a time that hasn't come yet: see to the clocks of both sides") from None
    except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
        raise TokenRefused("the ID token is another provider's, or was made for another site") from None
    except (jwt.PyJWTError, OverflowError, ValueError):
        raise TokenRefused("the ID token isn't the provider's, or lacks something") from None
    return claims
