"""Signing in at a provider that lies, hangs, or is away: nobody gets in who shouldn't, and each page says why."""

import html
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from services.operators import fetching
from services.setting_groups import GroupScopes
from services.settings import Settings
from tests.support.oidc import CLIENT, Provider
from tests.support.oidc_browser import TOKEN, Browser, browsing, failures, said
from tests.support.settings import settings


async def test_a_group_opens_its_scopes(browser: Browser, provider: Provider, connection: Any) -> None:
    """Who is of a mapped group gets its scopes and no others; the database has name, subject and that group alone."""
    answer = await browser.sign_in()
    assert answer.status_code == 200 and "You are signed in as ann." in answer.text
    assert '<meta http-equiv="refresh" content="0;url=/ops/reviews">' in answer.text
    session, begun = answer.headers.get_list("set-cookie")
    assert "SameSite=Strict" in session and "HttpOnly" in session and "Path=/ops;" in session
    assert "Max-Age=0" in begun and "SameSite=Lax" in begun
    assert (await browser.get("/ops/reviews")).status_code == 200
    assert (await browser.get("/ops")).status_code == 403
    row = await connection.fetchrow("select operator, how, issuer, subject, groups from operators.sessions")
    assert tuple(row) == ("ann", "oidc", provider.issuer, "subject-of-ann", ["editors"])
    assert provider.sent["scope"] == "openid profile" and "prompt" not in provider.sent
    assert provider.sent["redirect_uri"] == "http://127.0.0.1:8000/ops/sign-in/back"


async def test_signing_in_leads_to_the_page_that_was_asked_for(browser: Browser, provider: Provider) -> None:
    """Also by way of the provider, and to no page but the operators' own."""
    led = (await browser.get("/ops/reviews?status=reported")).headers["location"]
    page = await browser.get(led)
    assert 'href="/ops/sign-in/oidc?to=/ops/reviews%3Fstatus%3Dreported"' in page.text
    answer = await browser.back(await browser.begin("/ops/sign-in/oidc?to=/ops/reviews%3Fstatus%3Dreported"))
    assert 'content="0;url=/ops/reviews?status=reported"' in answer.text
    for to in ("//evil.example", "https://evil.example/ops", "/ops/sign-out", "/ops%2F..%2F..", "/tools"):
        answer = await browser.back(await browser.begin(f"/ops/sign-in/oidc?to={to}"))
        assert 'content="0;url=/ops/reviews"' in answer.text


async def test_a_state_is_taken_once_and_in_its_own_browser(
    browser: Browser, provider: Provider, given: Settings, connection: Any
) -> None:
    """A replay, a state of another browser, a made-up one and none are refused, whatever the code."""
    state = await browser.begin()
    cookies = dict(browser.cookies)
    stranger = Browser(browser.http, provider)
    assert "wasn't begun in this browser" in said(await stranger.back(state))
    assert (await browser.back(state)).status_code == 200
    browser.cookies = cookies  # as a thief of both would send them again
    assert "was used already" in said(await browser.back(state))
    for other in ("", "made-up", "\u00e9\u2028"):
        assert "wasn't begun in this browser" in said(await browser.back(other))
    assert await connection.fetchval("select count(*) from operators.sessions") == 1
    assert await failures(connection) == ["not begun here", "used before"]


async def test_a_head_of_the_way_back_changes_nothing(browser: Browser, provider: Provider, connection: Any) -> None:
    """It is refused with what the page takes, nobody is signed in, and the answer of the provider is good still."""
    state = await browser.begin()
    query = httpx.QueryParams({"code": "right", "state": state, "iss": provider.issuer})
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    head = await browser.http.head(f"/ops/sign-in/back?{query}", headers={"cookie": cookie})
    assert (head.status_code, head.headers["allow"], "set-cookie" in head.headers) == (405, "GET", False)
    assert await connection.fetchval("select count(*) from operators.sessions") == 0
    assert (await browser.back(state)).status_code == 200


async def test_two_windows_sign_in_beside_each_other(browser: Browser, provider: Provider) -> None:
    """Each has a state of its own, and the first to come back doesn't take the other's away."""
    first = await browser.begin()
    nonce, challenge = provider.nonce, provider.challenge
    second = await browser.begin()
    assert (await browser.back(second)).status_code == 200
    provider.nonce, provider.challenge = nonce, challenge
    assert (await browser.back(first)).status_code == 200


ELSEWHERE: tuple[tuple[dict[str, str], bool, str], ...] = (
    ({"iss": "https://evil.example"}, True, "isn't from"),
    ({"iss": ""}, True, "isn't from"),
    ({"iss": "https://evil.example"}, False, "isn't from"),
    ({"error": "access_denied"}, True, "access denied"),
    ({"error": "\u202eevil"}, True, "nothing readable"),
    ({"code": ""}, True, "it said nothing"),
    ({"code": "of another sign-in"}, True, "doesn't take its own code: invalid grant"),
)


@pytest.mark.parametrize("promises", [True, False])
async def test_an_answer_from_elsewhere_or_with_nothing_in_it_is_refused(
    browser: Browser, provider: Provider, promises: bool
) -> None:
    """Mixed-up issuers (RFC 9207), refusals and wrong codes let nobody in. Who promises to name itself has to."""
    provider.metadata = {"authorization_response_iss_parameter_supported": promises}
    for query, is_promised, words in ELSEWHERE:
        if is_promised in (True, promises):
            answer = await browser.back(await browser.begin(), **query)
            assert (answer.status_code, words in said(answer)) == (403, True), (query, said(answer))
    assert "ballotpress_ops" not in browser.cookies
    left_out = await browser.get(f"/ops/sign-in/back?code=right&state={await browser.begin()}")
    assert left_out.status_code == (403 if promises else 200)


SLOW = "slow"


AWAY: tuple[tuple[Any, str], ...] = (
    ((500, b"oops", {}), "answers with 500"),
    ((302, b"", {"location": "http://169.254.169.254/latest/meta-data"}), "leads elsewhere (302)"),
    ((200, b"x" * 300_000, {}), "answers with more than 256 kB"),
    ((200, b"<html>", {}), "isn't a JSON object"),
    ((200, b"[" * 200_000, {}), "isn't a JSON object"),
    ((200, b'{"issuer": "https://evil.example"}', {}), "calls itself by another name"),
    ((404, b"{}", {}), "answers with 404"),
    (SLOW, "doesn't answer within 0 seconds"),
)


async def test_a_provider_that_is_away_is_said_and_tokens_work(
    browser: Browser, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does instead of answering, the page says so, nothing is followed, and a token still signs in."""
    hangs = threading.Event()

    def slow() -> tuple[int, bytes, dict[str, str]]:
        hangs.wait(30)
        return 200, b"{}", {}

    for answer, words in AWAY:
        monkeypatch.setattr(fetching, "DEADLINE", 0.4 if answer == SLOW else 10.0)
        provider.answers[".well-known/openid-configuration"] = slow if answer == SLOW else lambda answer=answer: answer
        page = await browser.get("/ops/sign-in/oidc")
        assert (page.status_code, words in said(page)) == (503, True), (answer, said(page))
        assert "Tokens work as ever" in said(page)
    hangs.set()
    done = await browser.post("/ops/sign-in", {"token": TOKEN.token})
    assert (done.status_code, (await browser.get("/ops")).status_code) == (303, 200)


UNSAFE: tuple[dict[str, Any], ...] = (
    {"token_endpoint": "http://192.0.2.1/token"},
    {"jwks_uri": "http://10.0.0.1/keys"},
    {"userinfo_endpoint": "file:///etc/passwd"},
    {"authorization_endpoint": "javascript:alert(1)"},
    {"authorization_endpoint": "https://provider.example/a b"},
    {"authorization_endpoint": "https://provider.example/\r\nset-cookie: a=b"},
    {"end_session_endpoint": "https://name:password@provider.example/"},
    {"jwks_uri": None},
    {"token_endpoint": 7},
)


async def test_addresses_that_are_not_https_are_not_asked(browser: Browser, provider: Provider) -> None:
    """A provider that names another sort of address, or none, isn't believed at all."""
    for metadata in UNSAFE:
        provider.metadata = metadata
        page = await browser.get("/ops/sign-in/oidc")
        told = page.status_code == 503 and ("isn't https" in said(page) or "where to sign in" in said(page))
        assert told, (metadata, said(page))


async def test_a_provider_that_goes_away_between_the_steps_lets_nobody_in(browser: Browser, provider: Provider) -> None:
    """Away at the code, the keys or the groups, it lets nobody in and says so; the next try works."""
    for name in ("token", "keys", "me"):
        provider.claims = {"groups": None}
        provider.userinfo = {"groups": ["editors"]}
        provider.answers = {name: lambda: (503, b"", {})}
        page = await browser.sign_in()
        assert (page.status_code, "answers with 503" in said(page)) == (503, True), name
        provider.answers = {}
    assert (await browser.sign_in()).status_code == 200


async def test_what_is_known_of_the_provider_outlasts_its_absence(browser: Browser, provider: Provider) -> None:
    """An hour after it was asked it is asked again; if it is away then, what it said holds for a day."""
    assert (await browser.sign_in()).status_code == 200
    provider.answers = dict.fromkeys((".well-known/openid-configuration", "keys"), lambda: (500, b"", {}))
    for age, status in ((2 * 3600, 200), (25 * 3600, 503)):
        for kept in vars(browser.http._transport.app.state.site.signing_in.provider).values():  # type: ignore[attr-defined]
            if hasattr(kept, "_at"):
                kept._at = time.monotonic() - age
        assert (await browser.get("/ops/sign-in/oidc")).status_code == (303 if status == 200 else 503)


async def test_nobody_without_a_mapped_group_gets_in(browser: Browser, provider: Provider, connection: Any) -> None:
    """The page says so in plain words, and whom to ask."""
    for groups in ([], None, ["others"], {"editors": 1}):
        provider.claims = {"groups": groups}
        page = await browser.sign_in()
        assert page.status_code == 403
        assert "none of your groups there opens anything here. Ask whoever runs this site" in said(page)
    assert await failures(connection) == ["no group"]
    assert await connection.fetchval("select count(*) from operators.people") == 0, "nothing is kept of strangers"


async def test_groups_come_from_userinfo_where_the_token_lacks_them(browser: Browser, provider: Provider) -> None:
    """They are asked for, a single text is one group, and another subject's are refused."""
    provider.claims = {"groups": None, "preferred_username": None}
    provider.userinfo = {"groups": "admins", "preferred_username": "ann of userinfo"}
    assert "You are signed in as ann of userinfo." in (await browser.sign_in()).text
    assert (await browser.get("/ops")).status_code == 200
    provider.userinfo = {"sub": "subject-of-bob", "groups": ["admins"]}
    assert "contradicts itself" in said(await browser.sign_in())


async def test_a_name_is_one_account_for_ever(browser: Browser, provider: Provider) -> None:
    """Who is renamed keeps the first name, and nobody else gets it, nor that of a token, a shell or the detector."""
    assert "signed in as ann." in (await browser.sign_in()).text
    provider.claims = {"preferred_username": "bob"}
    assert "signed in as ann." in (await browser.sign_in()).text
    seen = set()
    for number, name in enumerate(("ann", "robot", "shell", "Shell:ann", "detector", "a\u202eb", "", 7)):
        provider.claims = {"sub": f"other-{number}", "preferred_username": name}
        text = (await browser.sign_in()).text
        seen.add(html.unescape(text.split("You are signed in as ")[1].split(".</p>")[0]))
    assert len(seen) == 8 and not seen & {"ann", "robot", "shell", "Shell:ann", "detector"}
    assert {"other-5", "other-6", "other-7"} <= seen, "a name that can't be read gives way to the subject"


async def test_a_session_ends_with_what_its_groups_open(browser: Browser, provider: Provider, given: Settings) -> None:
    """A mapping without the group, another provider or none: at the next request in a process of the new settings."""
    assert (await browser.sign_in()).status_code == 200
    only_admins = [GroupScopes("admins", frozenset({"read"}))]
    for change in ({"groups": tuple(only_admins)}, {"issuer": "http://127.0.0.1:1/other"}):
        changed = {name: getattr(provider.given, name) for name in provider.given.__struct_fields__} | change
        other = settings(given.database_url, given.redis_url, signing_in=type(provider.given)(**changed))
        async with browsing(other, provider) as elsewhere:
            elsewhere.cookies = dict(browser.cookies)
            assert (await elsewhere.get("/ops/reviews")).status_code == 303
    assert (await browser.get("/ops/reviews")).status_code == 200


async def test_a_session_that_is_over_is_renewed_without_a_word_with_the_groups_of_now(
    browser: Browser, provider: Provider, connection: Any
) -> None:
    """The provider is asked quietly and leads back; if it would have to ask, the sign-in page is shown."""
    assert (await browser.sign_in()).status_code == 200
    await connection.execute("update operators.sessions set ends_at = now()")
    led = (await browser.get("/ops/reviews?status=pending")).headers["location"]
    assert led == "/ops/sign-in/oidc?quiet=true&to=%2Fops%2Freviews%3Fstatus%3Dpending"
    provider.claims = {"groups": ["admins"]}
    answer = await browser.back(await browser.begin(led))
    assert provider.sent["prompt"] == "none" and 'content="0;url=/ops/reviews?status=pending"' in answer.text
    assert (await browser.get("/ops")).status_code == 200 and (await browser.get("/ops/reviews")).status_code == 403
    await connection.execute("update operators.sessions set ends_at = now()")
    asked = await browser.back(await browser.begin(led), code="", error="login_required")
    assert (asked.status_code, said(asked)) == (200, "Your session is over. Sign in again.")
    assert "to=/ops/reviews%3Fstatus%3Dpending" in asked.text


async def test_an_ended_session_is_not_renewed_without_a_word(browser: Browser, provider: Provider, connection: Any) -> None:
    """What an operator ended, and what somebody signed out of, leads to the sign-in page."""
    assert (await browser.sign_in()).status_code == 200
    cookies = dict(browser.cookies)
    out = await browser.post("/ops/sign-out", {})
    assert out.headers["location"] == "/ops/sign-in?said=out"
    page = (await browser.get("/ops/sign-in?said=out")).text
    way_out = html.unescape(page.split('role="status"')[1].split('href="')[1].split('"')[0])
    assert way_out.startswith(f"{provider.issuer}/out?")
    assert parse_qs(urlsplit(way_out).query) == {
        "client_id": [CLIENT],
        "post_logout_redirect_uri": ["http://127.0.0.1:8000/ops/sign-in"],
    }
    browser.cookies = cookies
    assert (await browser.get("/ops/reviews")).headers["location"] == "/ops/sign-in?to=%2Fops%2Freviews"


async def test_tokens_may_be_kept_for_programs(given: Settings, provider: Provider) -> None:
    """With the switch off no token signs in, and programs still call with theirs."""
    fields = {name: getattr(provider.given, name) for name in provider.given.__struct_fields__} | {"by_token": False}
    shut = settings(given.database_url, given.redis_url, operator_tokens=(TOKEN,), signing_in=type(provider.given)(**fields))
    async with browsing(shut, provider) as browser:
        page = await browser.get("/ops/sign-in")
        assert "Sign in with" in page.text and "Operator token" not in page.text
        refused = await browser.post("/ops/sign-in", {"token": TOKEN.token})
        assert refused.status_code == 403 and "nobody signs in by a token" in said(refused)
        called = await browser.http.get("/v1/ops/status", headers={"authorization": f"Bearer {TOKEN.token}"})
        assert called.status_code == 200


async def test_a_public_client_and_one_that_posts_its_secret_sign_in(
    given: Settings, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the provider takes is what it is sent; where it takes no secret that we have, it says so."""
    monkeypatch.setattr(Provider, "answer", _open_answer(Provider.answer))
    fields = {name: getattr(provider.given, name) for name in provider.given.__struct_fields__}
    for secret, methods, status in (
        (None, ["none"], 200),
        ("secret-that-is-posted", ["client_secret_post"], 200),
        ("secret-that-is-posted", ["private_key_jwt"], 503),
    ):
        provider.metadata = {"token_endpoint_auth_methods_supported": methods}
        signing_in = type(provider.given)(**fields | {"client_secret": secret})
        async with browsing(settings(given.database_url, given.redis_url, signing_in=signing_in), provider) as browser:
            assert (await browser.sign_in()).status_code == status


def _open_answer(answer: Callable[..., Any]) -> Callable[..., Any]:
    """Return the provider's way to answer, for clients that prove themselves in the form."""

    def opened(self: Provider, path: str, form: Mapping[str, list[str]], authorization: str) -> Any:
        if path.endswith("/token") and form.get("client_id") == [CLIENT] and not authorization:
            assert form.get("client_secret", ["secret-that-is-posted"]) == ["secret-that-is-posted"]
            body = json.dumps({"access_token": "access", "id_token": self.id_token()}).encode()
            return 200, body, {"content-type": "application/json"}
        return answer(self, path, form, authorization)

    return opened


async def test_without_a_provider_there_is_none(dsn: str, valkey_url: str, provider: Provider) -> None:
    """Both pages are 404 then, and the sign-in page has no button."""
    async with browsing(settings(dsn, valkey_url, operator_tokens=(TOKEN,)), provider) as browser:
        for path in ("/ops/sign-in/oidc", "/ops/sign-in/back?code=x&state=y"):
            assert (await browser.get(path)).status_code == 404
        assert "Sign in with" not in (await browser.get("/ops/sign-in")).text
