"""ID tokens that are wrong, and keys that change: nobody gets in by a token that wasn't made for this very sign-in."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.settings import Settings
from tests.support.oidc import CLIENT, FIRST, Key, Provider
from tests.support.oidc_browser import Browser, browsing, failures, said


def _hmac_with_the_public_key(claims: Mapping[str, Any]) -> str:
    """Return a token that a verifier takes which lets the token choose the algorithm."""
    public = FIRST.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body = (jwt.utils.base64url_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "first"}, claims))
    signed = jwt.get_algorithm_by_name("HS256").sign(head + b"." + body, public)
    return b".".join((head, body, jwt.utils.base64url_encode(signed))).decode()


NOW = int(time.time())
OTHER = Key("first")


WRONG_CLAIMS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"aud": "another-site"}, "was made for another site"),
    ({"aud": [CLIENT, "another-site"]}, "was made for another site"),
    ({"aud": [CLIENT, "another-site"], "azp": "another-site"}, "was made for another site"),
    ({"azp": "another-site"}, "was made for another site"),
    ({"iss": "https://evil.example"}, "is another provider's"),
    ({"exp": NOW - 3600}, "is too old"),
    ({"iat": NOW + 3600, "exp": NOW + 7200}, "of a time that hasn't come yet"),
    ({"nonce": "another"}, "of another sign-in"),
    ({"nonce": None}, "of another sign-in"),
    ({"nonce": 7}, "of another sign-in"),
    ({"sub": ""}, "names nobody"),
    ({"sub": None}, "lacks something"),
    ({"sub": "s" * 256}, "names nobody"),
    ({"sub": "a\0b"}, "names nobody"),
    ({"sub": "a\ud800"}, "names nobody"),
    ({"exp": None}, "lacks something"),
    ({"iat": None}, "lacks something"),
    ({"exp": float("inf")}, "isn't the provider's, or lacks something"),
    ({"exp": "soon"}, "isn't the provider's, or lacks something"),
)


async def test_an_id_token_with_a_wrong_claim_is_refused(browser: Browser, provider: Provider, connection: Any) -> None:
    """Nobody gets in, the page says what is wrong, and it is counted."""
    for claims, words in WRONG_CLAIMS:
        provider.claims = claims
        answer = await browser.sign_in()
        assert (answer.status_code, words in said(answer)) == (403, True), (claims, said(answer))
    assert await connection.fetchval("select count(*) from operators.sessions") == 0
    assert await connection.fetchval("select sum(failed) from operators.failed_sign_ins") == len(WRONG_CLAIMS)
    assert await failures(connection) == ["ID token refused"]


NOT_SIGNED: tuple[tuple[Callable[[Mapping[str, Any]], Any], str], ...] = (
    (lambda claims: jwt.encode(claims, None, algorithm="none", headers={"kid": "first"}), "in a way that isn't believed"),
    (_hmac_with_the_public_key, "in a way that isn't believed"),
    (OTHER.sign, "isn't the provider's"),
    (Key("unknown").sign, "under a key that the provider doesn't show"),
    (Key("first", "ES256").sign, "under a key that the provider doesn't show"),
    (lambda claims: FIRST.sign(claims)[:-4] + "AAAA", "isn't the provider's"),
    (lambda claims: FIRST.sign(claims, crit=["exp"]), "can't be read"),
    (lambda claims: "not a token", "can't be read"),
    (lambda claims: "a.b.c", "can't be read"),
    (lambda claims: FIRST.sign({**claims, "x": "y" * 70_000}), "it sent no ID token"),
    (lambda claims: None, "it sent no ID token"),
)


async def test_a_token_that_the_provider_did_not_sign_is_refused(browser: Browser, provider: Provider) -> None:
    """No algorithm, one of shared secrets with the public key, another's key, a changed token: nobody gets in."""
    for sign, words in NOT_SIGNED:
        provider.sign = sign
        answer = await browser.sign_in()
        assert (answer.status_code, words in said(answer)) == (403, True), (words, said(answer))
    assert "ballotpress_ops" not in browser.cookies


async def test_keys_are_renewed_when_they_change(browser: Browser, provider: Provider) -> None:
    """A token under a new key is believed once the provider shows it; a weak key and one for encryption never are."""
    assert (await browser.sign_in()).status_code == 200
    second, weak = Key("second", "ES256"), Key("weak", bits=1024)
    provider.keys, provider.sign = [second], second.sign
    assert (await browser.sign_in()).status_code == 200
    provider.keys, provider.sign = [weak], lambda claims: jwt.encode(dict(claims), weak.private, "RS256", {"kid": "weak"})
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        refused = await browser.sign_in()
    assert "under a key that the provider doesn't show" in said(refused)
    provider.answers["keys"] = lambda: (200, json.dumps({"keys": [FIRST.shown() | {"use": "enc"}]}).encode(), {})
    provider.sign = Key("third").sign
    assert (await browser.sign_in()).status_code == 403


async def test_unknown_keys_don_t_drive_the_site_to_ask_without_end(given: Settings, provider: Provider) -> None:
    """However many tokens name unknown keys, the provider is asked for its keys once in ten seconds."""
    async with browsing(given, provider) as browser:
        provider.sign = Key("unknown").sign
        for _ in range(5):
            assert (await browser.sign_in()).status_code == 403
        assert provider.asked.count("keys") == 1
        assert provider.asked.count(".well-known/openid-configuration") == 1
