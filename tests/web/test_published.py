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


def compile_all(objects: list[object], folder: Path) -> str:
    """Let the compiler read objects as things of schema.org; return what it finds wrong."""
    binaries = npm.tools(PUBLISHING, "what pages tell programs isn't shown to schema.org's vocabulary")
    lines = [f"export const told{n}: WithContext<Thing> = {json.dumps(one)};" for n, one in enumerate(objects)]
    (folder / "told.ts").write_text("import type { Thing, WithContext } from 'schema-dts';\n" + "\n".join(lines))
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": ["told.ts"]}))
    (folder / "package.json").write_text('{"type": "module"}')
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(PUBLISHING / "node_modules")
    return npm.run("sh", "-c", f"{binaries / 'tsc'} -p tsconfig.json || true", folder=folder)


def test_what_pages_tell_is_in_the_words_of_schema_org(told: list[object], tmp_path: Path) -> None:
    """Each object of each page is a thing of schema.org with properties that it has and values that they take."""
    assert compile_all(told, tmp_path) == ""


@pytest.mark.server
def test_the_compiler_would_tell(tmp_path: Path) -> None:
    """A type, a property or a value that schema.org doesn't know is an error."""
    wrong: list[dict[str, object]] = [
        {"@type": "SoftwareProgram", "name": "x"},
        {"@type": "SoftwareApplication", "verdict": "ship"},
        {"@type": "Review", "reviewRating": 5},
    ]
    told = compile_all([{"@context": "https://schema.org"} | one for one in wrong], tmp_path)
    assert set(re.findall(r"^told\.ts\((\d+),\d+\): error TS", told, re.MULTILINE)) == {"2", "3", "4"}
