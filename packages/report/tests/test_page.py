"""The page as a reader meets it: in a browser, off line, on a desk and on a phone."""

import json
import os
import re
import shutil

import pytest

from septet.errors import InputError
from septet_report.__main__ import Page, page


@pytest.fixture(scope="module")
def results(judged, drawn, claims_files):
    page(Page(results=judged, claims=claims_files, verdicts=[judged / "verdicts.json"]), judged / "report")
    return judged


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    if path is None:
        reason = "no chromium on this machine: the page is not tested in a browser"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=[1280, 390])
def loaded(request, browser, results):
    """The page at one width with every figure drawn, and what it said and asked for meanwhile."""
    from playwright.sync_api import expect

    tab = browser.new_page(viewport={"width": request.param, "height": 900})
    noise: list[str] = []
    tab.on("console", lambda message: noise.append(message.text))
    tab.on("pageerror", lambda error: noise.append(str(error)))
    tab.on("dialog", lambda dialog: (noise.append(dialog.message), dialog.dismiss()))
    asked: list[str] = []
    tab.on("request", lambda sent: asked.append(sent.url))
    url = (results / "report" / "index.html").as_uri()
    tab.goto(url)
    expect(tab.locator(".plot:not([data-state=drawn])")).to_have_count(0, timeout=20_000)
    yield tab, noise, asked, url
    tab.close()


def test_the_page_is_quiet_whole_and_fits(loaded):
    tab, noise, asked, url = loaded
    assert noise == []
    assert asked == [url]
    assert tab.locator(".plot").count() == 2
    assert tab.locator(".plot svg").count() == 2
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for plot in tab.locator(".plot svg").all():
        box = plot.bounding_box()
        assert box["width"] > 250
        assert box["x"] + box["width"] <= tab.viewport_size["width"]


def test_the_table_says_what_the_verdicts_say(loaded, results):
    tab = loaded[0]
    verdicts = json.loads((results / "verdicts.json").read_text())
    rows = tab.locator("tr.claim")
    assert rows.count() == len(verdicts)
    for place, verdict in enumerate(verdicts):
        row = rows.nth(place)
        assert row.get_attribute("data-claim") == verdict["claim"]
        for column, name in ((".outcome", "verdict"), (".says", "statement"), (".source", "source")):
            assert row.locator(column).inner_text() == verdict[name]
        assert row.locator(".reported").inner_text() == verdict["reported"]
        assert row.locator(".reason").inner_text().replace("\xa0", " ") == verdict["reason"]
        shown = [float(n) for n in re.findall(r"-?[\d.]+", row.locator(".estimate").inner_text().replace("−", "-"))]
        if verdict["estimate"] is None:
            assert shown == []
        else:
            expected = [verdict["estimate"], verdict["low"], verdict["high"]]
            assert shown == pytest.approx(expected, rel=0.02)


def test_hostile_text_stays_text(loaded):
    tab = loaded[0]
    row = tab.locator("tr.claim[data-claim=hostile]")
    assert row.locator(".says").inner_text() == "<script>alert(1)</script> and {{7*7}} stand here as text"
    assert row.locator("script").count() == 0
    assert row.locator("b").count() == 0


def test_a_point_leads_to_its_run_card(loaded):
    tab = loaded[0]
    point = tab.locator(".plot").first.locator(".mark-symbol path").nth(20)
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    tip = tab.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    run = re.search(r"[0-9a-f]{12}", tip.inner_text())
    assert run is not None
    point.click(force=True)
    assert tab.evaluate("location.hash") == f"#run-{run[0]}"
    assert tab.locator(f"[id='run-{run[0]}'] details").get_attribute("open") is not None


def test_the_page_names_the_scale_of_the_verdicts(results):
    text = (results / "report" / "index.html").read_text()
    assert "<title>Septet: what was reproduced at scale laptop</title>" in text
    assert "Scale <strong>laptop</strong>" in text


def test_a_verdict_without_a_claim_is_refused(results, claims_files, tmp_path):
    with pytest.raises(InputError, match="one verdict for each claim"):
        page(Page(results=results, claims=claims_files[:1], verdicts=[results / "verdicts.json"]), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_specification_cannot_end_its_element(results, claims_files, tmp_path):
    folder = tmp_path / "laptop"
    shutil.copytree(results, folder)
    settings = Page(results=folder, claims=claims_files, verdicts=[folder / "verdicts.json"])
    path = folder / "figures" / "dynts" / "final_regret.json"
    spec = json.loads(path.read_text())
    spec["usermeta"]["septet"]["caption"] = "</script><script>alert(2)</script><!-- & '"
    path.write_text(json.dumps(spec))
    page(settings, tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    assert "<script>alert" not in text
    assert text.count("<script") == text.count("</script>") == 4
    path.write_text("{}")
    with pytest.raises(InputError, match=r"final_regret\.json: expected a figure"):
        page(settings, tmp_path / "out")
