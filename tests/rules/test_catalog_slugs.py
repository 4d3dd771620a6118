"""What the rules of the catalog promise of slugs: a tool may take another one, and keeps every one that it had."""

from typing import Any

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from events.catalog import (
    ComparisonAnnounced,
    FormerSlugAdded,
    ToolAdded,
    ToolDescribed,
    ToolNotListed,
    ToolRenamed,
    ToolUnlisted,
)
from events.catalog_file import CatalogFile, CatalogInvalid
from tests.support.catalogs import Imported, file, tool
from tests.support.given import an_id

ALPHA, BETA, GAMMA = an_id(1), an_id(2), an_id(3)
IDS = {"alpha": ALPHA, "beta": BETA, "gamma": GAMMA, "new": an_id(4), "newer": an_id(5), "newest": an_id(6)}


def renamed(slug: str, *former: str, **changes: Any) -> dict[str, Any]:
    """Write the tool alpha under another slug; all else that is said of it stays."""
    return tool(slug, name="Alpha", former_slugs=list(former), **changes)


def catalog() -> Imported:
    """Give a catalog of alpha and beta."""
    known = Imported(IDS)
    known.take(file(tool(), tool("beta")))
    return known


def faults(known: Imported, said: CatalogFile) -> list[str]:
    """Give the pointers of a file's faults."""
    with pytest.raises(CatalogInvalid) as refused:
        known.take(said)
    return [pointer for pointer, _ in refused.value.faults]


def test_a_new_slug_beside_a_known_one_renames_the_tool() -> None:
    """The tool takes the new slug, and its id, panel and all else stay; the same file again is no event."""
    known = catalog()
    said = file(renamed("new", "alpha"))
    assert known.take(said) == [ToolRenamed(tool=ALPHA, slug="new")]
    assert known.take(said) == []
    assert known.listing.listed("new") == known.listing.listed("alpha") == ALPHA
    assert (known.listing.is_former("alpha"), known.listing.is_former("new")) == (True, False)


def test_a_rename_may_change_more() -> None:
    """A renamed tool may be described anew and go off the site in the same file."""
    events = catalog().take(file(renamed("new", "alpha", tagline="new", listed=False)))
    assert [type(event) for event in events] == [ToolRenamed, ToolDescribed, ToolUnlisted]


def test_slugs_of_elsewhere_lead_to_the_tool() -> None:
    """A former slug that was never served here is added, of a new tool and of a known one, once each."""
    known = catalog()
    assert known.take(file(renamed("alpha", "old"))) == [FormerSlugAdded(tool=ALPHA, slug="old")]
    assert known.take(file(renamed("alpha", "old", "older"))) == [FormerSlugAdded(tool=ALPHA, slug="older")]
    assert known.take(file(renamed("alpha"))) == []
    added, former = known.take(file(tool("gamma", former_slugs=["g"])))
    assert isinstance(added, ToolAdded) and former == FormerSlugAdded(tool=GAMMA, slug="g")
    assert known.listing.listed("g") == GAMMA and known.listing.is_former("g") and not known.listing.is_former("gamma")


def test_a_tool_goes_through_many_slugs_and_back() -> None:
    """A slug of one's own may be taken back, by naming the present one as former; then back again."""
    known = catalog()
    for slug, before in (("new", "alpha"), ("newer", "new"), ("alpha", "newer"), ("newer", "alpha")):
        assert known.take(file(renamed(slug, before))) == [ToolRenamed(tool=ALPHA, slug=slug)]
        assert not known.listing.is_former(slug) and known.listing.is_former(before)
    assert {slug for slug in IDS if known.listing.find(slug) == ALPHA} == {"alpha", "new", "newer"}


def test_a_slug_of_elsewhere_may_be_taken() -> None:
    """A tool may take a slug that it had elsewhere."""
    known = catalog()
    known.take(file(renamed("alpha", "old")))
    assert known.take(file(renamed("old", "alpha"))) == [ToolRenamed(tool=ALPHA, slug="old")]
    assert not known.listing.is_former("old")


def test_two_tools_cannot_become_one() -> None:
    """Former slugs of two tools are a fault, at the second."""
    assert faults(catalog(), file(renamed("new", "alpha", "beta"))) == ["/tools/0/former_slugs/1"]


def test_a_former_slug_is_nobody_elses() -> None:
    """A slug that leads to a tool can be no other tool's, neither as its slug nor as a former one."""
    known = catalog()
    known.take(file(renamed("new", "alpha")))
    assert faults(known, file(tool())) == ["/tools/0/slug"]
    assert faults(known, file(tool("gamma", former_slugs=["x", "alpha"]))) == ["/tools/0/former_slugs/1"]
    assert faults(known, file(tool("beta", former_slugs=["new"]))) == ["/tools/0/former_slugs/0"]
    assert faults(known, file(tool("alpha", former_slugs=["beta"]))) == ["/tools/0/former_slugs/0", "/tools/0/slug"]


def test_slugs_that_conflict_within_a_file_are_faults() -> None:
    """Within a file each slug stands once, as a tool's or as a former one."""
    known = catalog()
    assert faults(known, file(renamed("new", "alpha"), tool())) == ["/tools/0/former_slugs/0"]
    assert faults(known, file(renamed("new", "new"))) == ["/tools/0/former_slugs/0"]
    assert faults(known, file(renamed("new", "x", "x"))) == ["/tools/0/former_slugs/1"]
    assert faults(known, file(renamed("new", "alpha"), renamed("newer", "alpha"))) == ["/tools/1/former_slugs/0"]


def test_tools_do_not_swap_their_slugs() -> None:
    """No file can give a tool the slug of another, not even both at once."""
    known = catalog()
    said = file(renamed("beta", "alpha"), tool("alpha", former_slugs=["beta"]))
    assert set(faults(known, said)) == {"/tools/0/former_slugs/0", "/tools/1/former_slugs/0"}


def test_pairs_and_successors_may_go_by_a_former_slug() -> None:
    """A pair, or a successor, may be named by any slug of the tool; a pair of one tool's slugs is a fault."""
    known = catalog()
    events = known.take(file(renamed("new", "alpha", "x"), comparisons=(("alpha", "beta"), ("new", "beta"), ("beta", "x"))))
    assert events[2:] == [ComparisonAnnounced(left=ALPHA, right=BETA), ComparisonAnnounced(left=BETA, right=ALPHA)]
    known.take(file(tool("beta", successor="alpha")))
    assert known.tools[BETA].description.successor == ALPHA
    assert faults(known, file(comparisons=(("alpha", "new"),))) == ["/comparisons/0"]


def test_a_successor_is_a_tool_and_leads_nowhere_back() -> None:
    """A successor is in the file or in the catalog, is another tool, and no chain of them comes back."""
    known = catalog()
    assert faults(known, file(tool(successor="nobody"))) == ["/tools/0/successor"]
    assert faults(known, file(tool(successor="alpha"))) == ["/tools/0/successor"]
    assert faults(known, file(tool(successor="beta"), tool("beta", successor="alpha"))) == [
        "/tools/0/successor",
        "/tools/1/successor",
    ]
    known.take(file(tool(successor="beta")))
    known.take(file(tool("gamma", successor="alpha")))
    assert faults(known, file(tool("beta", successor="gamma"))) == ["/tools/0/successor"]
    known.take(file(tool(successor=None), tool("beta", successor="gamma")))
    assert known.tools[BETA].description.successor == GAMMA


def test_who_is_succeeded_by_a_circle_is_not_in_it() -> None:
    """A tool whose successor stands in a circle has no fault of its own."""
    said = file(tool(successor="beta"), tool("beta", successor="gamma"), tool("gamma", successor="beta"))
    assert faults(Imported(IDS), said) == ["/tools/1/successor", "/tools/2/successor"]


def test_a_listing_keeps_an_unlisted_tool_off_under_every_slug() -> None:
    """An unlisted tool is off the site by each of its slugs."""
    known = catalog()
    known.take(file(renamed("new", "alpha", listed=False)))
    for slug in ("new", "alpha"):
        with pytest.raises(ToolNotListed):
            known.listing.listed(slug)


_files = st.builds(
    lambda slug, former: renamed(slug, *former),
    st.sampled_from(sorted(IDS)),
    st.lists(st.sampled_from(sorted(IDS)), max_size=3),
)


@for_any(st.lists(_files, max_size=12))
def test_whatever_is_imported_each_slug_stays_with_one_tool(said: list[dict[str, Any]]) -> None:
    """After any imports, each slug leads where it led before, and each tool has one that is present."""
    known = Imported(IDS)
    led: dict[str, str] = {}
    for one in said:
        try:
            known.take(file(one))
        except CatalogInvalid:
            continue
        assert known.take(file(one)) == []
        now = {slug: found for slug in IDS if (found := known.listing.find(slug)) is not None}
        assert now.items() >= led.items()
        led = now
        for id_, state in known.tools.items():
            own = {slug for slug, of in led.items() if of == id_}
            assert {slug for slug in own if not known.listing.is_former(slug)} == {state.slug}
            assert own - {state.slug} == state.former
