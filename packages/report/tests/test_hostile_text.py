"""Whatever data, configurations and models wrote stands on the page as text, and is never run."""

import json
import shutil
from html.parser import HTMLParser

import pytest
import yaml

from septet.report.__main__ import Judge, Page, judge, page
from septet.reseal import reseal
from septet.sealed import read_sealed_json, write_json

EVIL = """</script><script>window.owned=1</script><img src=x onerror="window.owned=1">'"`{{7*7}}${7*7}<!--</style>"""
FREE = {"title", "authors", "method", "statement", "source", "reported", "unit"}


class Tags(HTMLParser):
    """What a browser would build: elements, attributes that act, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.counts: dict[str, int] = {}
        self.acting: list[str] = []
        self.text: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.acting += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]
        self.acting += [f"{tag} {name}" for name, value in attrs if (value or "").lower().startswith("javascript:")]
        self.inside = tag if tag in ("script", "style") else self.inside

    def handle_endtag(self, tag):
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data):
        if not self.inside:
            self.text.append(data)


def parsed(file) -> Tags:
    tags = Tags()
    tags.feed(file.read_text(encoding="utf-8"))
    tags.close()
    return tags


def spoiled(value, key=""):
    """Free text of a claims file with hostile text at its end."""
    if isinstance(value, dict):
        return {name: spoiled(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [spoiled(inner, key) for inner in value]
    return value + EVIL if isinstance(value, str) and (key in FREE or key == "differences") else value


@pytest.fixture(scope="module")
def pages(judged, drawn, claims_files, tmp_path_factory):
    """The page of the demo, and of the same demo with hostile text wherever text comes from outside."""
    plain = tmp_path_factory.mktemp("plain")
    page(Page(results=judged, claims=claims_files, verdicts=[judged / "verdicts.json"]), plain)
    root = tmp_path_factory.mktemp("hostile")
    results = root / "laptop"
    shutil.copytree(judged, results)
    files = []
    for file in claims_files:
        files.append(root / file.name)
        files[-1].write_text(yaml.safe_dump(spoiled(yaml.safe_load(file.read_text())), sort_keys=False))
    cards = read_sealed_json(results / "dynts/runs.json", "run cards")
    for card in cards["runs"]:
        card["data"] = card["started"] = card["verb"] = EVIL
        card["host"] = dict.fromkeys(card["host"], EVIL) | {"cores": 2}
        card["versions"] = {"python": EVIL, EVIL: "1"}
        card["config"] = {EVIL: EVIL, "method": {"name": EVIL}}
        for settings in card["methods"].values():
            settings["examples"] = [{"prompt": EVIL, "before": EVIL, "after": EVIL, "answer": EVIL}]
    write_json(results / "dynts/runs.json", cards)
    for figure in (results / "figures/dynts").glob("*.json"):
        figure.write_text(figure.read_text().replace('"ts/none"', json.dumps("ts/none" + EVIL)))
        reseal(figure)
    judge(Judge(results=results, claims=files), results)
    page(Page(results=results, claims=files, verdicts=[results / "verdicts.json"]), root)
    return plain / "index.html", root / "index.html"


def test_hostile_text_makes_no_element_and_no_handler(pages):
    plain, hostile = map(parsed, pages)
    assert hostile.acting == plain.acting == []
    for tag in ("script", "style", "img", "iframe", "object", "form", "a", "base", "link", "meta"):
        assert hostile.counts.get(tag, 0) == plain.counts.get(tag, 0), tag
    shown = "".join(hostile.text)
    assert shown.count(EVIL) >= 8  # it is there to be read


def test_hostile_text_is_text_in_a_browser(pages, chromium):
    from playwright.sync_api import sync_playwright

    noise: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.on("console", lambda message: noise.append(message.text))
        tab.on("pageerror", lambda error: noise.append(str(error)))
        tab.goto(pages[1].as_uri())
        tab.wait_for_load_state("networkidle")
        for details in tab.locator("details").all():
            details.evaluate("element => { element.open = true }")
        assert tab.evaluate("typeof window.owned") == "undefined"
        assert tab.locator("img[src=x]").count() == 0
        assert "window.owned=1" in tab.locator("body").inner_text()
        browser.close()
    assert noise == []
