"""The queue of suspected votes in a browser: worked by keys, accessible, and fitting every window."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest
from playwright.sync_api import Page, expect

from services.integrity.cohorts import Cohort
from tests.support import calling
from tests.support.accessibility import EVERY_VIEW, faults_of
from tests.support.browser import Windows, sign_in
from tests.support.cohorts import suspect
from tests.support.processes import Instance, wait_for

Suspect = Callable[[str], Cohort]


@pytest.fixture
def suspects(instance: Instance, base: str, votes: Callable[[str, str, int], None]) -> Suspect:
    """Have five visitors vote on a tool, and keep its votes as a cohort."""

    async def keep(tool: str) -> Cohort:
        connection = await asyncpg.connect(instance.database_url())
        try:
            id_ = await connection.fetchval("select data->>'tool' from log.events where data->>'slug' = $1", tool)
            return await suspect(connection, id_)
        finally:
            await connection.close()

    def made(tool: str) -> Cohort:
        votes(tool, "ship", 5)
        assert wait_for(lambda: calling.get(f"{base}/v1/tools/{tool}").json()["community"]["ship"] >= 5)
        with ThreadPoolExecutor(1) as beside:  # the browser's event loop runs in this thread
            return beside.submit(asyncio.run, keep(tool)).result()

    return made


def test_a_cohort_is_decided_by_keys(window: Windows, base: str, token: str, suspects: Suspect) -> None:
    """From the queue to the evidence, with a reason to a void, and back by an undo, without a mouse; readers are told."""
    cohort = suspects("n8n")
    reader, page = window(), window()
    reader.goto(f"{base}/tools/n8n")
    said = reader.locator('[data-under-review="n8n"]')
    expect(said).to_have_text(f"Votes of {cohort.begins.day} {cohort.begins:%B} are under review.")
    sign_in(page, base, token)
    page.goto(f"{base}/ops/integrity")
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_url(f"{base}/ops/integrity/{cohort.id}")
    page.keyboard.press("v")  # a void without a reason goes nowhere
    page.keyboard.type("one hand")
    page.keyboard.press("Escape")
    with page.expect_navigation():
        page.keyboard.press("v")
    assert wait_for(lambda: _status(page, base, cohort) == "Voided")
    expect(said).to_be_hidden()
    page.keyboard.press("e")
    page.keyboard.type("a mistake")
    page.keyboard.press("Escape")
    with page.expect_navigation():
        page.keyboard.press("u")
    assert wait_for(lambda: _status(page, base, cohort) == "Waits for a decision")
    expect(said).to_be_visible()


def _status(page: Page, base: str, cohort: Cohort) -> str:
    """Load a cohort's page anew, and return the status that it shows."""
    page.goto(f"{base}/ops/integrity/{cohort.id}")
    return page.locator("main .badge").first.inner_text()


def test_the_evidence_is_accessible_and_fits(window: Windows, base: str, token: str, suspects: Suspect) -> None:
    """No violation that axe-core finds, nothing wider than the window."""
    cohort = suspects("aider")
    page = window()
    sign_in(page, base, token)
    for path in ("/ops/integrity", f"/ops/integrity/{cohort.id}"):
        page.goto(base + path)
        assert faults_of(page, EVERY_VIEW) == []
