"""Search: a tool is found by the words of its texts, best first, whatever is asked, and few rows are read for it."""

from collections.abc import Sequence

import pytest

from events.commands.catalog import ImportCatalog
from events.log.committer import Committer
from projections import search
from projections.search import Found, is_slip
from tests.oracle.search import words
from tests.support.catalogs import file, new_id, tool
from tests.support.runners import Connection, catch_up_all

TEXTS = [
    "", " ", "Mistral-3 Small (24B)", "C++ and C# +1 a+b .NET #tag", "Café ÜBER ÀÉ naïve", "搜索 GPT 中文ai", "שלום עולם",
    "🚀 Rocket", "don’t Don't", "x\u00a0y—z…", "\uff27\uff30\uff34\uff14 \u2167", "\x01a\x7fb", "한국어 カタカナ が",
    "'\"%_\\ zzqx", "¿Qué? 100€ ≈ ±5", "a\u200db\ufe0f", "ÅNGSTRÖM ß",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
async def test_the_database_takes_texts_apart_as_the_rules_say(connection: Connection, text: str) -> None:
    """Words are the same in SQL as in Python: lower case, no accents, single signs where a script has no spaces."""
    assert await connection.fetchval("select log.search_words($1)", text) == words(text)


def test_a_slip_is_one_letter_or_two_swapped() -> None:
    """A letter that is missing, too many, doubled or wrong, or two neighbours swapped; nothing further away."""
    for other in ("mitsral", "mistrl", "misstral", "mistrall", "mixtral", "istral", "mistral"):
        assert is_slip("mistral", other) and is_slip(other, "mistral"), other
    for other in ("mitsrla", "mist", "tralmis", "mxtral", ""):
        assert not is_slip("mistral", other), other


async def add(committer: Committer, dsn: str, *tools: dict[str, object]) -> None:
    """Import tools, and have the views follow."""
    await committer.submit(ImportCatalog.of(file(*tools), new_id, "op"))
    await catch_up_all(dsn)


async def found(connection: Connection, text: str, after: Found | None = None, limit: int = 20) -> Sequence[str]:
    """Return the slugs that a text finds."""
    return [one.slug for one in await search.search(connection, text, after, limit)]  # type: ignore[arg-type]


async def test_the_better_a_tool_matches_the_sooner_it_stands(committer: Committer, dsn: str, connection: Connection) -> None:
    """The name itself, its beginning, a word of it, then tagline and category, then description; a slip comes last."""
    await add(
        committer, dsn,
        tool("in-text", name="A", description="Better than Parrot."), tool("in-tagline", name="B", tagline="The parrot"),
        tool("in-category", name="C", category="Parrot"), tool("slip", name="Parot"), tool("word", name="My Parrot"),
        tool("beginning", name="Parrot Two"), tool("exact", name="Parrot"), tool("other", name="Pigeon"),
    )  # fmt: skip
    assert await found(connection, "parrot") == ["exact", "beginning", "word", "in-category", "in-tagline", "in-text", "slip"]


async def test_a_list_goes_on_where_a_page_ended(
    committer: Committer, dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, of any size, comes what one long page has, in its order; so it is where many are expected."""
    names = ["Kite", "Kite One", "Red Kite", "Kites", "Klte", "Kitte"]
    await add(committer, dsn, *(tool(f"t{n}", name=name, tagline="kite" * (n % 2)) for n, name in enumerate(names * 3)))
    whole = await search.search(connection, "kite", None, 100)  # type: ignore[arg-type]
    assert sorted({(one.tier, one.place, one.slug) for one in whole}) == [(one.tier, one.place, one.slug) for one in whole]
    for size in (1, 2, 5):
        paged: list[Found] = []
        while page := await search.search(connection, "kite", paged[-1] if paged else None, size):  # type: ignore[arg-type]
            paged += page
        assert paged == whole
    monkeypatch.setattr(search, "FEW", -1)
    assert await search.search(connection, "kite", None, 100) == whole  # type: ignore[arg-type]
    assert await search.search(connection, "kite", whole[3], 100) == whole[4:]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (
            "Mistral 3 Small",
            ["mistral", "MISTRAL small", "small 3 mistral", "mist", "mistral sm", "mitsral", "mistrl", "misstral"],
        ),
        (
            "Mistral 3 Small",
            ["small small mistral small sma", "mistral small 3", "smal", "mistral3", "mistral-3", " mistral  "],
        ),
        ("ChatGPT", ["chat gpt", "chatgtp", "ChatGP"]),
        ("Café 搜索", ["cafe", "CAFÉ", "搜索", "搜"]),
        ("C++ Builder", ["c++", "C++ builder", "biulder"]),
        ("🚀 Rocket", ["🚀", "rokcet"]),
        ("שלום", ["שלום", "שלו"]),
    ],
)
async def test_a_name_is_found_however_it_is_typed(
    committer: Committer, dsn: str, connection: Connection, name: str, asked: list[str]
) -> None:
    """Any case, order and accents, as far as it is typed, and with a letter swapped, missing or doubled."""
    await add(committer, dsn, tool("it", name=name), tool("not-it", name="Something", tagline="else"))
    assert {text: await found(connection, text) for text in asked} == {text: ["it"] for text in asked}


STRANGE = [
    "'\"%_\\ zzqx", "zzqx", "%", "_", "\\", "'", "&", ":*", "!it", "it & !it", "(", "'3it' | '3not'", "🚀", "搜",
    "\u0627" * 200, "the of and", " " * 500, "a " * 250, "x" * 500, "\u202e", "\x01",
]  # fmt: skip


@pytest.mark.parametrize("text", STRANGE)
async def test_strange_texts_find_nothing(committer: Committer, dsn: str, connection: Connection, text: str) -> None:
    """Signs that mean something elsewhere, words that nobody has, nothing but spaces: an empty list, no error."""
    await add(committer, dsn, tool("it", name="Something"))
    assert await found(connection, text) == []


async def test_what_changes_is_found_as_it_is_now(committer: Committer, dsn: str, connection: Connection) -> None:
    """A new name is found and the old one is not; what is off the site is not found until it is back."""
    await add(committer, dsn, tool("it", name="Former"))
    await add(committer, dsn, tool("it", name="Present"))
    assert (await found(connection, "former"), await found(connection, "present")) == ([], ["it"])
    await add(committer, dsn, tool("it", name="Present", listed=False))
    assert await found(connection, "present") == []
    await add(committer, dsn, tool("it", name="Present", listed=True))
    assert await found(connection, "present") == ["it"]
