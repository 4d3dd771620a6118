"""What pages tell programs, as other people's tools read it: schema.org's vocabulary has nothing to say about it.

`schema-dts` holds that vocabulary as TypeScript's types; what a page says must be of one of them. Installed in `publishing/`.
"""

import json
import re
from pathlib import Path

import pytest

from tests.support import npm
from tests.support.catalogs import opinion
from tests.support.heads import Head
from tests.support.http import Site

PUBLISHING = Path(__file__).parent / "publishing"
OPTIONS = {
    "strict": True,
    "noEmit": True,
    "module": "nodenext",
    "moduleResolution": "nodenext",
    "skipLibCheck": True,
    "types": [],
}


@pytest.fixture(scope="module")
def told(site: Site) -> list[object]:
    """The JSON-LD of a page of each kind, of tools that have everything and tools that have nothing."""
    full = site.add_tool(url="https://tool.example", panel=[opinion(), opinion("Founder", score=None, verdict="skip")])
    bare = site.add_tool(pricing={"tier": "paid", "label": "A lot"})
    for _ in range(50):
        position = site.visitor().vote(full, "ship")
    site.anyone.get("/v1/tools", after=position)
    pages = (f"/tools/{full}", f"/tools/{bare}", f"/compare/{full}-vs-{bare}", "/reviewers/builder", "/")
    found = [one for page in pages for one in Head(site.anyone.get(page, {"Accept": "text/html"}).text).data]
    assert len(found) >= 2 * len(pages) - 2
    return found


WRONG: list[object] = [
    {"@context": "https://schema.org", "@type": "SoftwareProgram", "name": "x"},
    {"@context": "https://schema.org", "@type": "SoftwareApplication", "verdict": "ship"},
    {"@context": "https://schema.org", "@type": "Review", "reviewRating": 5},
]


@pytest.fixture(scope="module")
def said(told: list[object], tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the compiler finds wrong where objects are things of schema.org: those of pages, and beside them what is wrong."""
    binaries = npm.tools(PUBLISHING, "what pages tell programs isn't shown to schema.org's vocabulary")
    folder = tmp_path_factory.mktemp("told")
    for name, objects in (("told", told), ("wrong", WRONG)):
        lines = [f"export const one{n}: WithContext<Thing> = {json.dumps(one)};" for n, one in enumerate(objects)]
        (folder / f"{name}.ts").write_text("import type { Thing, WithContext } from 'schema-dts';\n" + "\n".join(lines))
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": ["told.ts", "wrong.ts"]}))
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(PUBLISHING / "node_modules")
    return npm.run("sh", "-c", f"{binaries / 'tsc'} -p tsconfig.json || true", folder=folder)


def test_what_pages_tell_is_in_the_words_of_schema_org(said: str) -> None:
    """Each object of each page is a thing of schema.org with properties that it has and values that they take."""
    assert [line for line in said.splitlines() if line[:1].strip() and not line.startswith("wrong.ts")] == []


def test_the_compiler_would_tell(said: str) -> None:
    """A type, a property or a value that schema.org doesn't know is an error."""
    assert set(re.findall(r"^wrong\.ts\((\d+),\d+\): error TS", said, re.MULTILINE)) == {"2", "3", "4"}
