"""Share cards: what a picture is of, how long it stands, and that whoever asks for many holds up nobody."""

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.web.drawings import MOST_WAITING
from tests.support.catalogs import opinion
from tests.support.http import Site, assert_problem
from tests.support.processes import wait_for

PNG = b"\x89PNG\r\n\x1a\n"


def size_of(png: bytes) -> tuple[int, int]:
    """Return the width and height of a PNG, whose chunks are whole."""
    assert png.startswith(PNG)
    at, kinds = len(PNG), []
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(png[at + 4 : at + 8 + length]),)
        kinds.append(png[at + 4 : at + 8])
        at += 12 + length
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    wide, high = struct.unpack_from(">II", png, 16)
    return int(wide), int(high)


def card(site: Site, name: str, position: int | None = None) -> bytes:
    """Read a picture."""
    answer = site.anyone.get(f"/card/{name}.png", **({} if position is None else {"position": position}))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text
    return answer.content


def cache_of(site: Site, name: str, position: int) -> str:
    """Read who may keep a picture at a position."""
    cache: str = site.anyone.get(f"/card/{name}.png", position=position).headers["cache-control"]
    return cache


def test_a_tool_and_a_pair_have_a_picture(site: Site) -> None:
    """Each is a PNG of 1200 × 630 pixels and at most 60 kB, also with the longest words that a catalog may hold."""
    left = site.add_tool(name="Wide " * 39 + "name", category="W" * 200, panel=[opinion()])
    right = site.add_tool(name="W" * 200)
    for name in (left, right, f"{left}-vs-{right}", f"{right}-vs-{left}"):
        assert size_of(png := card(site, name)) == (1200, 630)
        assert len(png) <= 60_000
    assert card(site, f"{left}-vs-{right}") != card(site, f"{right}-vs-{left}")


def test_a_picture_at_a_position_stands_for_ever(site: Site, tool: str) -> None:
    """With a position a picture is what the log said there, however many votes follow, and may be kept for ever."""
    positions = [site.visitor().vote(tool, "ship") for _ in range(9)]
    site.anyone.get(f"/v1/tools/{tool}", after=positions[-1])
    before = {position: card(site, tool, position) for position in positions}
    assert len(set(before.values())) == len(positions)
    for _ in range(3):
        last = site.visitor().vote(tool, "skip")
    assert site.anyone.get(f"/v1/tools/{tool}", after=last).json()["community"]["skip"] == 3
    assert {position: card(site, tool, position) for position in positions} == before
    assert wait_for(lambda: cache_of(site, tool, positions[0]) == "public, max-age=31536000, immutable")
    assert card(site, tool) == card(site, tool, last) != card(site, tool, positions[-1])


def test_a_picture_stands_once_its_position_is_signed(site: Site, tool: str) -> None:
    """Until a signed checkpoint covers the position, a picture may be kept for minutes, as the present one is."""

    def before_it_is_signed() -> str | None:
        position = site.visitor().vote(tool, "ship")
        cache = cache_of(site, tool, position)
        size = int(site.anyone.get("/log/1/checkpoint").text.split("\n")[1])
        return cache if size < position else None

    assert (wait_for(before_it_is_signed) or "").startswith("public, max-age=300")


def test_the_words_of_then_are_drawn(site: Site) -> None:
    """A picture of before says the name and the panel's verdict of before."""
    slug = site.add_tool(name="First name", panel=[opinion()])
    first = site.head()
    before = card(site, slug, first)
    site.add_tool(slug=slug, name="Second name", panel=[opinion(verdict="skip")])
    site.anyone.get("/v1/tools", after=site.head())
    assert card(site, slug, first) == before != card(site, slug)


def test_a_picture_without_a_position_is_asked_for_again(site: Site, tool: str) -> None:
    """The present picture may be kept for minutes, and who has it already gets 304."""
    answer = site.anyone.get(f"/card/{tool}.png")
    assert answer.headers["cache-control"].startswith("public, max-age=300")
    again = site.anyone.get(f"/card/{tool}.png", {"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_what_never_was_has_no_picture(site: Site, tool: str) -> None:
    """Beyond the log's head, before the tool, at no position, and of no tool there is nothing to see."""
    added = site.head()
    for position in (added + 1_000_000, 2**63 - 1, 1, 0):
        assert_problem(site.anyone.get(f"/card/{tool}.png", position=position), 404)
    for position in ("x", "-1", "1.5", 2**63):
        assert_problem(site.anyone.get(f"/card/{tool}.png", position=position), 400)
    for name in ("no-such-tool.png", f"{tool}-vs-{tool}.png", f"{tool}-vs-nothing.png", f"{tool}.svg", f"{tool}.PNG", tool):
        assert_problem(site.anyone.get(f"/card/{name}"), 404)


def test_pictures_and_badges_follow_a_renamed_tool(site: Site) -> None:
    """Under a former slug, pictures and badges lead to the present one, with their position."""
    former, other = site.add_tool(name="Renamed"), site.add_tool()
    site.add_tool(slug=f"{former}-now", name="Renamed", former_slugs=[former])
    for path in (f"/card/{former}.png", f"/card/{other}-vs-{former}.png", f"/badge/{former}.svg"):
        answer = site.anyone.get(f"{path}?position=1")
        assert answer.status_code == 301, path
        assert answer.headers["location"] == f"{path.replace(former, f'{former}-now')}?position=1"


@pytest.mark.parametrize(
    "name",
    [
        "</text><script>alert(1)</script>",
        "名前 工具 도구",
        "أداة الذكاء Pro 2",
        "Инструмент Ελληνικά Việt",
        "🚀🏳️‍🌈👩🏽‍💻",
        "Z" + "\u0310\u0338" * 50,
        "\u202eevil\u2066",
        "ᚠᚢᚦᚨᚱᚲ",
        "\U0010ffff\ue000",
        "हिन्दी ไทย עברית",
        "·",
    ],
)
def test_any_name_can_be_drawn(site: Site, name: str) -> None:
    """Whatever a tool is called, its picture is one: words of every script, mark-up, signs alone, or no letters at all."""
    tool, other = site.add_tool(name=name, category=name), site.add_tool()
    assert size_of(card(site, tool)) == size_of(card(site, f"{other}-vs-{tool}")) == (1200, 630)


def test_a_vote_that_shows_nothing_new_draws_nothing(site: Site, tool: str) -> None:
    """Among many votes alike one more changes no word and no digit of a picture: it is the same, at another position."""
    for _ in range(41):
        position = site.visitor().vote(tool, "ship")
    site.anyone.get(f"/v1/tools/{tool}", after=position)
    assert card(site, tool, position) == card(site, tool, position - 1)


def test_a_flood_of_pictures_is_refused_before_it_holds_up_others(site: Site) -> None:
    """More pictures at once than there is time for are 503 with Retry-After, and none is left half done."""
    tools = [site.add_tool(name=f"Flooded {number}") for number in range(12)]
    names = [f"{left}-vs-{right}" for left in tools for right in tools if left != right]
    with ThreadPoolExecutor(MOST_WAITING * 2) as callers:
        answers = list(callers.map(lambda name: site.anyone.get(f"/card/{name}.png"), names))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert all(size_of(answer.content) == (1200, 630) for answer in answers if answer.status_code == 200)
    assert size_of(card(site, names[-1])) == (1200, 630)
