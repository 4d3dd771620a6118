"""What the rules of the catalog promise."""

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from events.catalog import (
    ComparisonAnnounced,
    Listing,
    PanelReviewPublished,
    PanelReviewRevised,
    PersonaDescribed,
    ToolAdded,
    ToolDescribed,
    ToolListed,
    ToolNotListed,
    ToolUnlisted,
)
from events.catalog_file import CatalogFile, check, most_events
from events.catalog_slugs import check_pairs, resolve
from tests.support.catalogs import Imported, file, opinion, tool
from tests.support.given import an_id

ALPHA, BETA = an_id(1), an_id(2)
IDS = {"alpha": ALPHA, "beta": BETA}


def known_catalog() -> Imported:
    """Begin with an empty catalog, whose tools get their ids from here."""
    return Imported(IDS)


def described(**changes: Any) -> dict[str, Any]:
    plain = {"name": "Alpha", "tagline": "t", "description": "d", "category": "Tools", "best_for": "b", "url": None}
    return {**plain, "tool": ALPHA, "pricing_tier": "free", "pricing_label": "Free", **changes}


def test_a_new_tool_is_added_with_its_panel() -> None:
    """A new tool is added, listed, and its reviews are published in the file's order."""
    assert known_catalog().take(file(tool(panel=[opinion(), opinion("Skeptic", score=None, verdict="skip")]))) == [
        ToolAdded(slug="alpha", **described()),
        PanelReviewPublished(tool=ALPHA, persona="Builder", score=80, verdict="ship", take="Good."),
        PanelReviewPublished(tool=ALPHA, persona="Skeptic", score=None, verdict="skip", take="Good."),
    ]


def test_the_same_file_again_is_no_event() -> None:
    """A file that says what is so appends nothing."""
    said = file(tool(panel=[opinion()], url="https://a.example"), tool("beta", listed=False), comparisons=(("alpha", "beta"),))
    known = known_catalog()
    assert len(known.take(said)) == 5
    assert known.take(said) == []


def test_what_is_left_out_stays() -> None:
    """Tools, reviews, address and listing that a file leaves out stay as they are."""
    known = known_catalog()
    known.take(file(tool(panel=[opinion()], url="https://a.example", listed=False), tool("beta")))
    assert known.take(file(tool())) == []
    assert known.take(file()) == []


def test_a_changed_tool_is_described_anew() -> None:
    """A changed description is one event with all of it; null takes the address away."""
    known = known_catalog()
    known.take(file(tool(url="https://a.example")))
    assert known.take(file(tool(tagline="new"))) == [ToolDescribed(**described(tagline="new", url="https://a.example"))]
    assert known.take(file(tool(tagline="new", url=None))) == [ToolDescribed(**described(tagline="new"))]


def test_a_tool_goes_off_the_site_and_comes_back() -> None:
    """`listed` takes a tool off and puts it back, once each; a new tool may come unlisted."""
    known = known_catalog()
    assert known.take(file(tool(listed=False))) == [ToolAdded(slug="alpha", **described()), ToolUnlisted(tool=ALPHA)]
    assert known.take(file(tool(listed=False))) == []
    assert known.take(file(tool(listed=True))) == [ToolListed(tool=ALPHA)]
    assert known.take(file(tool(listed=False))) == [ToolUnlisted(tool=ALPHA)]


def test_a_changed_review_is_revised() -> None:
    """A changed review is revised; one in other letters is the same persona's, under the name it came with."""
    known = known_catalog()
    known.take(file(tool(panel=[opinion(), opinion("Skeptic")])))
    assert known.take(file(tool(panel=[opinion("builder")]))) == []
    assert known.take(file(tool(panel=[opinion("BUILDER", score=None)]))) == [
        PanelReviewRevised(tool=ALPHA, persona="Builder", score=None, verdict="ship", take="Good.")
    ]


def test_a_pair_is_announced_once() -> None:
    """A comparison is announced once; the other way round it is another one."""
    known = known_catalog()
    known.take(file(tool(), tool("beta")))
    assert known.take(file(comparisons=(("alpha", "beta"),))) == [ComparisonAnnounced(left=ALPHA, right=BETA)]
    assert known.take(file(comparisons=(("alpha", "beta"), ("beta", "alpha")))) == [ComparisonAnnounced(left=BETA, right=ALPHA)]


@for_any(st.lists(st.tuples(st.booleans(), st.sampled_from(["t", "u"]), st.sampled_from([None, 1, 2])), max_size=6))
def test_an_import_makes_the_catalog_what_the_file_says(says: list[tuple[bool, str, int | None]]) -> None:
    """After any imports the catalog is what the last one said, and saying it again is no event."""
    known = known_catalog()
    for listed, tagline, score in says:
        said = file(tool(listed=listed, tagline=tagline, panel=[opinion(score=score)]))
        known.take(said)
        state = known.tools[ALPHA]
        assert (state.listed, state.description.tagline, state.panel["builder"].score) == (listed, tagline, score)
        assert known.take(said) == []


def test_every_fault_is_named() -> None:
    """All faults of a file are found at once, each at its JSON pointer."""
    said = file(
        tool(name="A\0", panel=[opinion(), opinion("BUILDER"), opinion("a/b"), opinion("..")]),
        tool(),
        tool("beta", category=" Tools", description="line\nline\ttab\rreturn"),
        comparisons=(("alpha", "alpha"), ("alpha", "beta"), ("alpha", "beta")),
    )
    assert [pointer for pointer, _ in check(said)] == [
        "/tools/0/name",
        "/tools/0/panel/2/persona",
        "/tools/0/panel/3/persona",
        "/tools/2/description",
        "/tools/2/category",
        "/tools/0/panel/1/persona",
        "/tools/1/slug",
        "/comparisons/0",
        "/comparisons/2",
    ]


def test_an_address_of_the_site_is_no_slug() -> None:
    """No tool may have, or have had, a slug whose page is something else."""
    faults = check(file(tool("facts"), tool("beta", former_slugs=["facts"])))
    assert {"/tools/0/slug", "/tools/1/former_slugs/0"} <= {pointer for pointer, _ in faults}


def test_a_sound_file_has_no_fault() -> None:
    """Line feeds and tabs in prose, and letters of any script, are sound."""
    said = file(tool(name="Ünïcode 工具 🛠️", description="a\n\tb", panel=[opinion("Dr. Who-Else")]))
    assert check(said) == []


def test_an_unknown_tool_cannot_be_compared() -> None:
    """A pair may name tools of the file or of the log, listed or not; any other is a fault."""
    listing = Listing()
    listing.evolve(1, "ToolAdded", BETA, "beta")
    listing.evolve(2, "ToolUnlisted", BETA, None)
    sound, faulty = file(tool(), comparisons=(("alpha", "beta"),)), file(comparisons=(("alpha", "beta"), ("beta", "gamma")))
    assert not list(check_pairs(sound, resolve(sound, listing, IDS).tool_ids))
    faults = check_pairs(faulty, resolve(faulty, listing, IDS).tool_ids)
    assert [pointer for pointer, _ in faults] == ["/comparisons/0/left", "/comparisons/1/right"]


@pytest.mark.parametrize(
    "changes",
    [
        {"slug": "Upper"},
        {"slug": "a\n"},
        {"slug": ""},
        {"slug": "a" * 121},
        {"name": ""},
        {"name": "n" * 201},
        {"category": ""},
        {"pricing": {"tier": "cheap", "label": "l"}},
        {"pricing": {"tier": "free"}},
        {"url": "ftp://a.example"},
        {"url": "javascript:alert(1)"},
        {"url": "https://a b"},
        {"url": "https://"},
        {"listed": None},
        {"listed": "yes"},
        {"panel": [opinion(score=101)]},
        {"panel": [opinion(score=-1)]},
        {"panel": [opinion(score=1.5)]},
        {"panel": [opinion(score=True)]},
        {"panel": [opinion("")]},
        {"panel": [opinion(verdict="mixed")]},
        {"panel": [opinion(stars=5)]},
        {"unknown": 1},
        {"reviewed": "2026-4-1"},
        {"reviewed": "2026-02-30"},
        {"reviewed": "2026-04-21T00:00:00Z"},
        {"reviewed": 20260421},
        {"disclosure": ""},
        {"disclosure": "d" * 501},
        {"successor": "Beta"},
        {"former_slugs": None},
        {"former_slugs": ["A"]},
        {"former_slugs": [f"a{n}" for n in range(101)]},
    ],
)
def test_a_misshapen_tool_is_refused(changes: dict[str, Any]) -> None:
    """What the contract does not allow is no catalog file."""
    with pytest.raises(msgspec.ValidationError):
        file(tool(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"persona": ""},
        {"persona": "p" * 61},
        {"role": ""},
        {"role": "r" * 121},
        {"phrase": "p" * 301},
        {"profile": "p" * 4_001},
        {"excited_by": "demos"},
        {"excited_by": [""]},
        {"excited_by": ["e"] * 21},
        {"tired_of": ["t" * 201]},
        {"tired_of": [None]},
        {"unknown": 1},
    ],
)
def test_a_misshapen_persona_is_refused(changes: dict[str, Any]) -> None:
    """A persona is described in a few texts of limited length, and in no other way."""
    with pytest.raises(msgspec.ValidationError):
        file(personas=({"persona": "Builder", **changes},))


def test_every_fault_of_new_texts_is_named() -> None:
    """What is shown as a line is one line; control characters stand nowhere; a persona is described once."""
    personas = (
        {"persona": "Builder", "role": "a\nb", "phrase": "a\u2028b", "profile": "a\x1bb", "tired_of": ["fine", " x"]},
        {"persona": "a/b", "profile": "two\nlines"},
        {"persona": "BUILDER", "excited_by": ["a\tb"]},
    )
    faults = check(file(tool(disclosure="line\nline"), tool("beta", disclosure="\x7f"), personas=personas))
    assert [pointer for pointer, _ in faults] == [
        "/tools/0/disclosure",
        "/tools/1/disclosure",
        "/personas/0/role",
        "/personas/0/phrase",
        "/personas/0/profile",
        "/personas/0/tired_of/1",
        "/personas/1/persona",
        "/personas/2/excited_by/0",
        "/personas/2/persona",
    ]


def test_dates_and_disclosures_stay_until_they_are_cleared() -> None:
    """What a file leaves out of a tool stays; null clears it."""
    known = known_catalog()
    said = {"reviewed": "2026-04-21", "disclosure": "We use it.", "successor": "beta"}
    known.take(file(tool(**said), tool("beta")))
    description = known.tools[ALPHA].description
    assert (description.reviewed, description.disclosure, description.successor) == (date(2026, 4, 21), "We use it.", BETA)
    assert known.take(file(tool())) == []
    assert known.take(file(tool(**dict.fromkeys(said)))) == [ToolDescribed(**described())]
    assert known.take(file(tool(**dict.fromkeys(said)))) == []


def test_a_persona_is_described_whether_or_not_it_judged() -> None:
    """A persona is described once for all, in any case of its name; what is left out stays, null clears it."""
    known = known_catalog()
    whole = {
        "persona": "Builder",
        "role": "Developer",
        "phrase": "p",
        "profile": "q",
        "excited_by": ["a", "b"],
        "tired_of": ["c"],
    }
    assert known.take(file(personas=(whole,))) == [
        PersonaDescribed(persona="Builder", role="Developer", phrase="p", profile="q", excited_by=("a", "b"), tired_of=("c",))
    ]
    assert known.take(file(personas=(whole,))) == []
    assert known.take(file(personas=({"persona": "BUILDER"},))) == []
    cleared = {"persona": "builder", "phrase": None, "excited_by": None, "tired_of": []}
    assert known.take(file(personas=(cleared,))) == [PersonaDescribed(persona="Builder", role="Developer", profile="q")]
    assert known.take(file(personas=({"persona": "Skeptic"},))) == [PersonaDescribed(persona="Skeptic")]
    assert known.take(file(personas=({"persona": "Skeptic"},))) == []


def test_no_file_comes_to_more_events_than_it_says() -> None:
    """How many events a file can come to at most is counted before it is decided."""
    known = known_catalog()
    known.take(file(tool()))
    changed = tool("beta", former_slugs=["alpha", "old"], tagline="new", listed=False, panel=[opinion()])
    said = file(changed, comparisons=(), personas=({"persona": "Builder"},))
    assert len(known.take(said)) == most_events(said) == 6


def test_a_listing_knows_tools_by_slug() -> None:
    """Unlisted tools are known but not listed; unknown ones are neither."""
    listing = Listing()
    listing.evolve(3, "ToolAdded", ALPHA, "alpha")
    assert (listing.listed("alpha"), listing.find("alpha"), listing.position) == (ALPHA, ALPHA, 3)
    listing.evolve(5, "ToolUnlisted", ALPHA, None)
    assert (listing.find("alpha"), listing.position) == (ALPHA, 5)
    for slug in ("alpha", "beta"):
        with pytest.raises(ToolNotListed):
            listing.listed(slug)
    listing.evolve(6, "ToolListed", ALPHA, None)
    assert listing.listed("alpha") == ALPHA
    assert listing.find("beta") is None


def test_the_documented_file_is_sound() -> None:
    """The example of docs/catalog.md is a catalog file, and a second import of it is no event."""
    text = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text().partition("```json\n")[2].partition("```")[0]
    known = Imported({"llama-cpp": ALPHA, "ollama-local": BETA})
    known.take(file(tool("llama-cpp")))
    said = msgspec.json.decode(text, type=CatalogFile)
    assert len(known.take(said)) == most_events(said) - 1  # it is listed
    assert known.take(said) == []
