"""The page: whole in itself, safe with any name, and no other figures than the tables'."""

import json
import re
import stat
from datetime import date
from decimal import Decimal

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from reported import AS_OF, HOSTILE, Page, opened

from crmbridge.demo.world import make_world
from crmbridge.errors import SettingsError
from crmbridge.model import Campaign, Entity
from crmbridge.report.exports import TableFormat

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@pytest.fixture
def blank_page(monkeypatch):
    """Where only the tables are looked at, nothing is drawn."""
    monkeypatch.setattr("crmbridge.report.write.page", lambda material, locale: "")


def test_nothing_is_fetched_and_nothing_runs(written):
    html, page = written[1:3]
    names = {name for name, _ in page.tags}
    assert names.isdisjoint({"script", "link", "iframe", "object", "embed", "img", "base", "form", "input", "audio", "video"})
    attributes = [(name, key, value or "") for name, given in page.tags for key, value in given.items()]
    assert [one for one in attributes if one[1].startswith("on")] == []
    addresses = [value for _, key, value in attributes if key in ("href", "src", "xlink:href", "action", "srcset", "data")]
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    assert re.findall(r"@import|url\((?!#)|javascript:|data:", html) == []
    assert {match for match in re.findall(r"https?://[^\"' <)&]+", html) if "w3.org" not in match} <= {"http://evil.example"}


def test_links_lead_somewhere_on_the_page(written):
    page = written[2]
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert len(ids) == len(set(ids))
    assert {given["href"][1:] for name, given in page.tags if name == "a"} <= set(ids)


def test_names_are_text_and_nothing_else(written):
    html, page = written[1:3]
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;" in html
    assert "حملة الربيع" in page.text
    # Marks that would turn the direction of what follows are gone, and no name runs over the page.
    assert "\u202e" not in html
    assert "\u2066" not in html
    assert "A" * 200 not in page.text


def test_every_tag_is_closed_in_order(written):
    html = written[1]
    stack = []
    body = re.sub(r"<!DOCTYPE[^>]*>|<!--.*?-->|<style.*?</style>", "", html, flags=re.DOTALL | re.IGNORECASE)
    for closing, name, own in re.findall(r"<(/?)([a-zA-Z][\w:-]*)[^>]*?(/?)>", body):
        if name in VOID or own:
            continue
        if closing:
            assert stack.pop() == name
        else:
            stack.append(name)
    assert stack == []


def test_it_can_be_read_without_seeing_it(written):
    page = written[2]
    assert dict(page.tags)["html"]["lang"] == "en"
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert all(given.get("scope") in ("col", "row") for name, given in page.tags if name == "th")
    pictures = [given for name, given in page.tags if given.get("role") == "img"]
    assert len(pictures) >= 8
    assert all(len(given["aria-label"]) > 20 for given in pictures)
    assert all(given.get("aria-hidden") == "true" or given.get("role") for name, given in page.tags if name == "svg")


def test_figures_are_those_of_the_tables(written):
    report, _, page, _ = written
    found = report.attribution
    for scenario in ("as_is", "as_if_applied"):
        mine = (pc.field("scenario") == scenario) & (pc.field("state") == "won") & (pc.field("currency") == "EUR")
        ledger = found.ledger.filter(mine)
        whole = pc.sum(ledger["amount"]).as_py()
        earned = pc.sum(ledger.filter(pc.field("residual") == "attributed")["amount"]).as_py()
        assert f"€{whole:,.2f}" in page.text
        assert f"€{earned:,.2f}" in page.text
        assert f"{earned / whole:.0%}" in page.text
    assert f"{report.attribution.plan_id}" in page.text


def test_the_same_input_gives_the_same_bytes(bridge, written, tmp_path):
    again = bridge.report(tmp_path / "again.html", plan=bridge.read_plan(), currency="EUR")
    assert again.path.read_text("utf-8") == written[1]


def test_only_the_owner_may_read_it(written):
    report, _, _, folder = written
    assert stat.S_IMODE(report.path.stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "tables").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in report.tables} == {0o600}


def test_every_table_comes_along(written):
    report, folder = written[0], written[3]
    names = {path.stem for path in (folder / "tables").iterdir()}
    assert {"credits", "ledger", "gaps", "roi", "spread", "journeys", "differences"} <= names
    cells = (folder / "tables" / "roi.csv").read_text("utf-8")
    # A spreadsheet would run a cell that begins like a formula.
    assert '"=HYPERLINK' not in cells
    assert HOSTILE[0].replace('"', '""') in cells
    assert {path.name for path in report.tables} == {path.name for path in (folder / "tables").iterdir()}


@pytest.mark.parametrize("table_format", [TableFormat.PARQUET, TableFormat.JSON])
def test_tables_in_other_forms_hold_the_same(bridge, blank_page, tmp_path, table_format):
    report = bridge.report(tmp_path / "page.html", tables=tmp_path / "t", table_format=table_format)
    ledger = report.attribution.ledger
    path = tmp_path / "t" / f"ledger.{table_format.value}"
    if table_format is TableFormat.PARQUET:
        assert pq.read_table(path).equals(ledger)
    else:
        amounts = [Decimal(row["amount"]) for row in json.loads(path.read_text("utf-8"))]
        assert amounts == ledger["amount"].to_pylist()


def without(*entities):
    return {**make_world(opportunities=30, as_of=AS_OF).records, **{entity: [] for entity in entities}}


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ((Entity.CAMPAIGN_MEMBER, Entity.CAMPAIGN), "0%"),
        pytest.param((Entity.CAMPAIGN_MEMBER,), "0%", marks=pytest.mark.slow),
        ((Entity.CONTACT_ROLE, Entity.OPPORTUNITY, Entity.OPPORTUNITY_CONTACT_LOOKUP, Entity.OPPORTUNITY_ACCOUNT), "Nothing"),
    ],
)
def test_a_crm_that_lacks_something_still_has_a_page(tmp_path, gone, said):
    with opened(tmp_path / "crm", without(*gone)) as bridge:
        html = bridge.report(tmp_path / "page.html").path.read_text("utf-8")
    page = Page(html)
    assert said in page.text
    assert page.headings[0] == 1
    assert "None" not in page.text
    assert "nan" not in page.text.split()


@pytest.mark.slow
def test_thousands_of_campaigns_leave_it_readable(tmp_path):
    world = make_world(opportunities=60, as_of=AS_OF)
    campaigns = world.records[Entity.CAMPAIGN]
    spent = {"actual_cost": Decimal(100), "currency": "EUR", "start_date": date(2026, 1, 1)}
    campaigns += [Campaign(id=f"more-{number}", name=f"More {number}", type="Email", **spent) for number in range(2_000)]
    with opened(tmp_path / "crm", world.records) as bridge:
        report = bridge.report(tmp_path / "page.html", currency="EUR")
    assert report.path.stat().st_size < 600_000


def test_currencies_are_told_apart_unless_one_is_asked_for(bridge, written, tmp_path):
    apart = bridge.report(tmp_path / "apart.html").path.read_text("utf-8")
    text = Page(apart).text
    assert "Currencies stand apart" in text
    assert "These figures are of EUR alone; other currencies stand apart in the ledger" in text
    assert "opportunities won, in all currencies" in text
    assert "in all currencies" not in written[2].text
    assert "These figures are of" not in written[2].text
    assert "£" in apart
    assert "£" not in written[1]


def test_numbers_in_the_readers_way(bridge, tmp_path):
    report = bridge.report(tmp_path / "page.html", currency="EUR", locale="de-DE")
    page = Page(report.path.read_text("utf-8"))
    assert re.search(r"\d\.\d{3},\d\d\s€", page.text)
    with pytest.raises(SettingsError, match="xx-XX"):
        bridge.report(tmp_path / "page.html", locale="xx-XX")


LUMINANCE = (0.2126, 0.7152, 0.0722)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip(LUMINANCE, linear, strict=True))


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


TEXT_ON = {
    "paper": ("ink", "muted", "earned", "loss"),
    "earned": ("on-earned",),
    "gap": ("on-gap",),
    "gap-2": ("on-gap",),
    "gap-3": ("on-small-gap",),
    "gap-4": ("on-small-gap",),
    "faint": ("ink",),
    "heat-1": ("ink",),
    "heat-2": ("ink",),
    "heat-3": ("ink",),
    "heat-4": ("on-heat-4",),
    "heat-5": ("on-heat-5",),
}


def test_text_stands_out_by_day_and_by_night(written):
    html = written[1]
    palettes = re.findall(r"\{([^{}]*--paper:[^{}]*)\}", html)
    assert len(palettes) == 2
    for palette in palettes:
        colours = dict(re.findall(r"--([\w-]+):\s*(#[0-9a-fA-F]{6})", palette))
        for ground, inks in TEXT_ON.items():
            for ink in inks:
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground, colours[ink], colours[ground])
