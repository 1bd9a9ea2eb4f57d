"""The documentation site: every link leads somewhere, and reading it fetches nothing."""

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|audio|video)[^>]*\ssrc=\"?(?:https?:)?//|<link[^>]*\shref=\"?(?:https?:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_there_is_a_page_for_each_paper_package_and_api(site):
    for folder, names in {
        "papers": [path.stem for path in ROOT.glob("docs/papers/*.md")],
        "packages": [path.parent.name for path in ROOT.glob("packages/*/README.md")],
        "api": [path.name for path in ROOT.glob("packages/*")],
        ".": ["index", "decisions/README", *(path.stem for path in ROOT.glob("docs/*.md"))],
    }.items():
        for name in names:
            page = (site / folder / name.replace("README", "index")).with_suffix(".html")
            assert page.is_file(), page


def test_no_page_asks_for_a_file_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        found = FETCHED.search(page.read_text())
        assert found is None, f"{page.relative_to(site)}: {found.group()}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", style.read_text()), style.name


def test_the_front_page_leaves_out_badges(site):
    assert "ci.yml" not in (site / "index.html").read_text()


def test_docstrings_equations_and_tables_are_drawn(site):
    text = (site / "api/dynts.html").read_text()
    assert "<math" in text
    for page in (site / "api").glob("*.html"):
        text = page.read_text()
        assert ".. math::" not in text and ":math:" not in text, page.name
        assert not re.search(r"=====+  *=====", text), page.name


def test_pages_of_papers_and_packages_have_equations_and_learning_curves(site):
    for paper in (path.stem for path in ROOT.glob("docs/papers/*.md")):
        for folder in ("papers", "packages"):
            text = (site / folder / f"{paper}.html").read_text()
            assert "<math" in text and f'src="../curves/{paper}.svg"' in text, (folder, paper)
        assert "<path" in (site / f"curves/{paper}.svg").read_text()


def test_an_api_page_starts_with_what_the_package_exports_and_has_no_bench(site):
    text = (site / "api/vrda.html").read_text()
    assert 0 < text.index("from septet.vrda import") < text.index('id="septet.vrda"')
    names = importlib.import_module("septet.vrda").__all__
    assert all(f"{name}</code>" in text for name in names)
    for page in (site / "api").glob("*.html"):
        assert not re.search(r'id="septet\.[\w.]*bench"', page.read_text()), page.name


def test_a_search_finds_guides_before_lists_of_functions(site):
    index = json.loads((site / "search/search_index.json").read_text())["docs"]
    weights = {}
    for entry in index:
        folder, slash, _ = entry["location"].partition("#")[0].rpartition("/")
        weights.setdefault(folder if slash else entry["location"].partition(".")[0], set()).add(entry.get("boost", 1))
    assert weights["cluster"] == weights["how-it-works"] == {2}
    assert weights["api"] == {0.3} and weights["papers"] == {1} and weights["changelog"] == {1}


def test_the_report_is_a_part_of_the_site_whose_links_lead_somewhere(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "tools/site.py")  # `site` is Python's own
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    for name, text in {
        "report/index.html": '<a href="../../../docs/papers/dynts.md">p</a><a href="../figures/a/b.md">md</a>',
        "figures/a/b.md": "| |", "figures/a/b.svg": "<svg/>", "figures/a/b.json": "{}",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(hooks, "PUBLISHED", tmp_path)
    found = hooks.report.__wrapped__()
    assert set(found) == {"report/index.html", "figures/a/b.md.txt", "figures/a/b.svg"}
    assert found["report/index.html"] == '<a href="../papers/dynts.html">p</a><a href="../figures/a/b.md.txt">md</a>'
    monkeypatch.setattr(hooks, "PUBLISHED", tmp_path / "nowhere")
    assert hooks.report.__wrapped__() == {}


def test_a_broken_link_fails_the_build(tmp_path):
    """Strictness is on: the same site with one bad link is refused."""
    configuration = (ROOT / "mkdocs.yml").read_text().split("plugins:")[0].replace("hooks: ", "# ")
    (tmp_path / "mkdocs.yml").write_text(configuration + (ROOT / "mkdocs.yml").read_text().split("\n")[-2] + "\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/site.css").write_text("")
    (tmp_path / "docs/index.md").write_text("[there](nowhere.md)")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "nowhere.md" in done.stderr


def test_a_browser_without_a_network_shows_it(site, chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width in (390, 1366):
            page = browser.new_page(viewport={"width": width, "height": 900})
            asked, errors = [], []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            for name in ("index", "how-it-works", "api/vipg", "packages/svrpo"):
                page.goto((site / f"{name}.html").as_uri())
                page.wait_for_timeout(200)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{name} is {wide} wide at {width}"
            assert not errors and not [url for url in asked if not url.startswith("file:")], (errors, asked)
            page.goto((site / "how-it-works.html").as_uri())
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        browser.close()
