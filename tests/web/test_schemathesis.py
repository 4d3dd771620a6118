"""The API against its own document: whatever fits it is taken, whatever doesn't is refused, and nothing else is answered."""

import itertools
import os
import re
from collections.abc import Iterator, MutableMapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import CHECKS

from tests.support.http import Caller, Site
from tests.support.openapi import DOCUMENT

EXAMPLES = int(os.environ.get("BALLOTPRESS_EXAMPLES", "3"))
# What a schema can't say: that a cursor or token must have been given out, that a time must be past, how many points a span
# holds, that a catalog's pairs are of tools that exist, that mail can be sent to an address, that who keeps a review says up to
# where reports were read, that a webhook's address is public.
REFUSES_MORE = {
    "/v1/ops/catalog",
    "/v1/ops/webhooks",
    "/v1/ops/reviews/{id}/decision",
    "/v1/tools/{tool}/tally",
    "/v1/tools/{tool}/tally/history",
    "/v1/log/consistency",
    "/v1/reviewers/{persona}",
    "/v1/newsletter/confirm",
    "/v1/newsletter/subscriptions",
}
FORM = "application/x-www-form-urlencoded"

pytestmark = pytest.mark.server  # which its cases, made late, don't tell by their fixtures

_keys = itertools.count(1)
_visitors: dict[str, Caller] = {}


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> schemathesis.BaseSchema:
    """The document that these tests go by."""
    request.node._nodeid = request.node.nodeid  # schemathesis looks there for it, where pytest 9 doesn't keep it any more
    return schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Connections that are kept, and no cookies."""
    with requests.Session() as session:
        session.trust_env = False  # no proxies are looked for at each request
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        yield session


# From a fixture, so that the cases are made by the one worker that runs the test, and not by all when tests are collected.
# The stream of tallies has no end to wait for; it has tests of its own.
operations = schemathesis.pytest.from_fixture("schema")
operations = operations.include(path_regex="^/(v1|health|metrics)").exclude(path="/v1/tallies/live")


def test_the_served_document_is_the_one_tested(site: Site) -> None:
    """What is served at /schema/openapi.json is the document that these tests go by."""
    assert site.anyone.get("/schema/openapi.json").json() == DOCUMENT


@operations.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_document_and_behaviour_agree(case: Case, site: Site, session: requests.Session) -> None:
    """Every operation holds to its document, and nothing it is sent is a server error."""
    caller = _caller(case, site)
    query, headers = _mapping(case.query), _mapping(case.headers)
    if re.fullmatch(r"[!-~]{1,255}", str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = f"key-{next(_keys)}"
    if _is_position(query.get("after")) and case.path != "/v1/ops/events":
        query["after"] = "0"  # a position to come is waited for, and then 503
    excluded = []
    has_nul = any("\0" in str(value) for value in query.values())  # no query may hold one, whatever it is of
    if case.path in REFUSES_MORE or "cursor" in query or has_nul:
        excluded.append("positive_data_acceptance")
    if not query.keys() <= _parameters(case):
        excluded.append("negative_data_rejection")  # parameters that we don't know are ignored
    if case.media_type == FORM:
        excluded += ["negative_data_rejection", "content_type_conformance"]  # unknown fields pass, and a page is the answer
    case.call_and_validate(
        base_url=str(site.client.base_url),
        session=session,
        headers={"Authorization": f"Bearer {caller.token}"},
        excluded_checks=CHECKS.get_by_names(excluded),
    )


def _caller(case: Case, site: Site) -> Caller:
    """Return the operator, or a visitor of the path's own; who may be erased calls once."""
    if case.path.startswith("/v1/ops/"):
        return site.operator
    if case.path == "/v1/visitors/me":
        return site.visitor()
    if case.path not in _visitors:
        _visitors[case.path] = site.visitor()
    return _visitors[case.path]


def _is_position(text: object) -> bool:
    return re.fullmatch("[0-9]{1,19}", str(text)) is not None and int(str(text)) < 2**63


def _parameters(case: Case) -> set[str]:
    operation = DOCUMENT["paths"][case.path][case.operation.method.lower()]
    return {parameter["name"] for parameter in operation["parameters"]}


def _mapping(given: object) -> MutableMapping[str, Any]:
    return given if isinstance(given, MutableMapping) else {}
