"""The way that an operator goes: to a certified provider that is another site for the browser, back, and out again."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.browser import Windows
from tests.support.http import wait_until_ready
from tests.support.oidc_provider import RealProvider, providing
from tests.support.processes import COMMAND, Instance, free_port, started
from tests.support.settings import clean_environ

GROUPS = "editors=moderate,admins=read+operators"
PEOPLE = {"ann": ["editors", "cooks"], "cem": ["cooks"], "dan": []}


@pytest.fixture(scope="module", params=["token", "userinfo"])
def site(
    instance: Instance, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[str, RealProvider]]:
    """An API beside the one of `up`, where operators sign in at a provider; its groups are in the ID token, or in userinfo."""
    port, folder = free_port(), tmp_path_factory.mktemp("provider")
    base = f"http://127.0.0.1:{port}"
    with providing(base, folder / "provider", PEOPLE, groups_in=request.param) as provider:
        own = {**provider.variables(GROUPS), "BALLOTPRESS_BASE_URL": base, "BALLOTPRESS_DRAIN_SECONDS": "0"}
        command = (*COMMAND, "api", "--port", str(port), "--home", str(instance.home))
        with started(command, clean_environ(**own), folder / "api"):
            wait_until_ready(base, lambda: Path(folder / "api").read_text()[-2000:])
            yield base, provider


def test_an_operator_signs_in_at_the_provider_and_out_again(site: tuple[str, RealProvider], window: Windows) -> None:
    """The page that was asked for is shown in the end, and no cookie of ours is lost on the way from another site."""
    base, provider = site
    page = window()
    page.goto(f"{base}/ops/reviews?status=reported")
    page.get_by_role("link", name=re.compile("Sign in with localhost")).click()
    provider.sign_in(page, "ann")
    page.wait_for_url(f"{base}/ops/reviews?status=reported")
    expect(page.locator(".sign-out")).to_contain_text("ann")
    page.get_by_role("link", name="Sessions").click()
    expect(page.locator("article.card")).to_have_count(1)
    expect(page.locator("article.card")).to_contain_text("from 127.0.0.0/24, by the provider")
    expect(page.get_by_role("link", name="Overview")).to_have_count(0)

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_contain_text("You are signed out here.")
    page.get_by_role("link", name=re.compile("Sign out at localhost")).click()
    page.get_by_role("button", name="Yes, sign me out").click()
    page.wait_for_url(re.compile(re.escape(f"{base}/ops/sign-in")))
    page.get_by_role("link", name=re.compile("Sign in with localhost")).click()
    expect(page.get_by_placeholder("Enter any login")).to_be_visible()


def test_a_second_sign_in_needs_no_word_and_has_the_groups_of_now(site: tuple[str, RealProvider], window: Windows) -> None:
    """Who is signed in at the provider comes back by itself; a group that was given since opens its pages."""
    base, provider = site
    page = window()
    page.goto(f"{base}/ops/sign-in/oidc")
    provider.sign_in(page, "ann")
    page.wait_for_url(f"{base}/ops/reviews")
    assert page.goto(f"{base}/ops").status == 403  # type: ignore[union-attr]
    provider.move(ann=["admins"])
    page.goto(f"{base}/ops/sign-in/oidc?quiet=true&to=/ops/sessions")
    page.wait_for_url(f"{base}/ops/sessions")
    expect(page.get_by_role("heading", name="Failed sign-ins")).to_be_visible()
    provider.move(ann=PEOPLE["ann"])


@pytest.mark.parametrize("name", ["cem", "dan"])
def test_who_has_no_group_is_told_so(site: tuple[str, RealProvider], window: Windows, name: str) -> None:
    """Known at the provider, and let in nowhere: the page says why, and whom to ask."""
    base, provider = site
    page = window()
    page.goto(f"{base}/ops/sign-in/oidc")
    provider.sign_in(page, name)
    expect(page.get_by_role("alert")).to_contain_text("none of your groups there opens anything here")
    page.goto(f"{base}/ops/sessions")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_nobody_is_asked_anything_quietly(site: tuple[str, RealProvider], window: Windows) -> None:
    """Without a session at the provider the quiet way ends at our sign-in page."""
    base, _ = site
    page = window()
    page.goto(f"{base}/ops/sign-in/oidc?quiet=true&to=/ops/sessions")
    expect(page.get_by_role("alert")).to_have_text("Your session is over. Sign in again.")
    expect(page.get_by_role("link", name=re.compile("Sign in with"))).to_have_attribute("href", re.compile("to=/ops/sessions"))
