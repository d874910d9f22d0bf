"""What the page says of data that do not fit the usual sentence, and that it says so under every model and threshold."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow.compute as pc
import pytest
from reported import AS_OF, Page, opened

from crmbridge.model import Account, Campaign, CampaignMember, Contact, ContactRole, Opportunity
from crmbridge.report.drawing import fitted, text_width_px
from crmbridge.report.figures import Figures
from crmbridge.report.story import CAMPAIGNS_SHOWN
from crmbridge.testing.worlds import world_of

MINUS = "\u2212"


def campaign(identifier, cost=None, currency="EUR", **fields):
    spent = None if cost is None else Decimal(cost)
    return Campaign(id=identifier, **{"name": identifier.title(), "actual_cost": spent, "currency": currency, **fields})


def won(identifier, amount, *touched):
    """A won opportunity, its one contact with a role, and the campaigns that the contact responded to, in order."""
    deal = {"is_closed": True, "is_won": True, "close_date": date(2026, 5, 31), "created_at": datetime(2026, 1, 10, tzinfo=UTC)}
    money = None if amount is None else Decimal(amount)
    yield Opportunity(id=identifier, name=identifier, account_id="A", amount=money, currency="EUR", **deal)
    yield Contact(id=f"C{identifier}", account_id="A", last_name="Zorn")
    yield ContactRole(id=f"R{identifier}", opportunity_id=identifier, contact_id=f"C{identifier}")
    for day, name in enumerate(touched, start=1):
        moment = datetime(2026, 3, day, tzinfo=UTC)
        yield CampaignMember(
            id=f"M{identifier}{name}", campaign_id=name, contact_id=f"C{identifier}", has_responded=True, responded_at=moment
        )


@pytest.fixture
def page_of(tmp_path, monkeypatch):
    """The page of a firm by hand, without pictures unless asked for; keywords are of `[attribution]`."""

    def write(*records, is_drawn=False, **attribution):
        if not is_drawn:
            monkeypatch.setattr("crmbridge.report.drawing.svg", lambda chart: "")
        folder, asked = tmp_path / str(len(list(tmp_path.iterdir()))), {"models": ["linear", "last"], **attribution}
        with opened(folder, world_of((Account(id="A", name="Acme"), *records)), clock=lambda: AS_OF, **asked) as bridge:
            return Page(bridge.report(folder / "page.html").path.read_text("utf-8"))

    return write


def test_a_loss_in_all_is_said_as_an_amount(page_of):
    text = page_of(campaign("fair", "50"), campaign("mail", "0"), *won("O", "-100.01", "fair"), *won("P", "0", "mail")).text
    assert f"2 opportunities were won for {MINUS}€100.01 in all; {MINUS}€100.01 of it is attributed" in text
    assert "none of them has an amount" not in text
    # Nothing of a loss is nothing, without a sign.
    assert f"{MINUS}0" not in text


@pytest.mark.parametrize(
    ("share", "said"), [(-0.0, "0.0%"), (-0.0001, f"> {MINUS}0.1%"), (0.0001, "< 0.1%"), (-0.25, f"{MINUS}25.0%"), (0.0, "0.0%")]
)
def test_small_shares_are_no_zero_and_zero_has_no_sign(share, said):
    assert Figures().percent(share, 1) == said


def test_no_amounts_at_all_is_said_too(page_of):
    assert "none of them has an amount" in page_of(campaign("fair", "50"), *won("O", None, "fair")).text


def test_a_cost_that_no_rate_converts_is_not_called_missing(page_of):
    text = page_of(
        *(campaign("fair", "50", "GBP", type="Event"), campaign("mail", "10", type="Mail"), campaign("free", type="Mail")),
        *(*won("O", "400", "fair", "free"), *won("P", "300", "mail")),
        currency="EUR",
    ).text
    assert "(as 1 of them) a cost in another currency that no exchange rate joins to EUR" in text
    assert "Fair Event in GBP €200.00 undefined" in text
    assert "Free Mail not entered €200.00 undefined" in text
    assert "Event in GBP €200.00 €0.00 undefined" in text


def test_a_win_that_no_rate_converts_is_said_where_roi_is_missing(page_of):
    (opportunity, *deal), mail = won("O", "400", "fair"), won("P", "300", "mail")
    dollars = opportunity.model_copy(update={"currency": "USD"})
    text = page_of(campaign("fair", "50"), campaign("mail", "10"), *deal, dollars, *mail, currency="EUR").text
    assert "(as 1 of them) won money in another currency that no exchange rate joins to EUR" in text


@pytest.mark.parametrize(
    ("mode", "said"), [("explicit", None), ("hybrid", "Where nobody has a contact role, everybody"), ("implicit", "Everybody")]
)
def test_people_without_a_role_are_never_counted_silently(page_of, mode, said):
    text = page_of(campaign("fair"), *won("O", "400", "fair"), mode=mode).text
    assert ("also people who had no part" in text) == (mode != "explicit")
    if said:
        assert f"{said} at the account counts on this page" in text
        assert f"Note {mode} mode:" in text


def test_one_campaign_is_not_called_the_largest(page_of):
    text = page_of(campaign("fair", "50"), *won("O", "400", "fair")).text
    assert "Every campaign whose ROI is defined" in text


def test_long_names_are_cut_to_their_room_in_pictures(page_of):
    page = page_of(campaign("fair", "50", name="W" * 300), *won("O", "400", "fair"), is_drawn=True)
    shown = re.findall("W{3,}…?", page.drawn)
    assert shown
    # W is the widest letter: the room of 25 usual ones holds 19.
    assert max(len(text) for text in shown) < 22


def test_names_with_signs_of_two_halves_are_drawn(page_of):
    """Such as emoji, cut at any place: half of one is no text, and would end the page."""
    page = page_of(campaign("fair", "50", name="WINTER " + "\U0001f680" * 60), *won("O", "400", "fair"), is_drawn=True)
    assert "WINTER \U0001f680" in page.drawn


@pytest.mark.parametrize("sign", "iWé漢\U0001f680\U0001d5ea\u0301")
@pytest.mark.parametrize("room_px", [0, 10, 77, 128, 236])
def test_a_name_is_cut_where_its_room_ends(sign, room_px):
    cut = fitted(sign * 500, room_px, 13)
    assert cut.endswith("…") == (text_width_px(sign, 13) > 0)
    assert text_width_px(cut, 13) <= max(room_px, 13)
    if text_width_px(sign, 13):
        assert text_width_px(cut + sign, 13) > room_px
    assert fitted("Mail", 40, 13) == "Mail"


def test_only_won_credit_makes_a_credited_campaign(page_of):
    page = page_of(campaign("fair"), campaign("mail"), *won("O", "400", "fair"), *won("P", "0", "mail"))
    assert "campaigns with won credit 1" in page.text


def test_roi_stands_there_under_every_model(written):
    report, _, page, _ = written
    found = report.attribution
    rows = found.roi.filter(
        (pc.field("level") == "campaign") & (pc.field("scenario") == "as_is") & (pc.field("currency") == "EUR")
    )
    by_campaign = {}
    for row in rows.to_pylist():
        by_campaign.setdefault(row["key"], {})[row["model"]] = row["roi"]
    defined = [tuple(rois[model.name] for model in found.models) for rois in by_campaign.values() if None not in rois.values()]
    assert len(defined) <= CAMPAIGNS_SHOWN
    assert any(len(set(ratios)) > 1 for ratios in defined)
    for ratios in defined:
        assert " ".join(Figures().roi(ratio) for ratio in ratios) in page.text
    assert all(f"ROI, {model.label}" in page.text for model in found.models)


@pytest.mark.parametrize(("basis", "by"), [("model", "the model"), ("threshold", "how sure the plan's roles must be")])
def test_who_changes_from_gain_to_loss_by_model_and_by_threshold(written, basis, by):
    report, _, page, _ = written
    spread = report.attribution.spread.filter((pc.field("basis") == basis) & (pc.field("currency") == "EUR")).to_pylist()
    changing = [row for row in spread if row["changes_sign"]]
    assert changing
    count = len(changing)
    assert f"{count} {'campaign changes' if count == 1 else 'campaigns change'} from gain to loss with {by}" in page.text
    lowest = Figures().roi(changing[0]["lowest_roi"])
    if basis == "threshold":
        assert f"{lowest} {float(changing[0]['lowest_at']):.0%} sure" in page.text
    ranked = sum(row["changes_rank"] for row in spread)
    assert f"{ranked} of {len(spread)} campaigns with a defined ROI change their rank" in page.text


def test_findings_of_one_kind_are_one_line_with_all_their_places(bridge, written):
    page, findings = written[2], bridge.findings().to_pylist()
    by_meaning = Counter()
    for row in findings:
        by_meaning[row["severity"], row["meaning"]] += row["count"]
    assert len(by_meaning) < len(findings)
    for (severity, meaning), count in by_meaning.items():
        assert f"{severity} {count:,} {meaning} In " in page.text
    for row in findings:
        place = " ".join(filter(None, (row["entity"], row["field"]))).replace("_", " ")
        assert place in page.text


def test_it_says_which_exchange_rates(written, page_of):
    assert "Exchange rates To EUR: of the day of the close" in written[2].text
    assert "Exchange rates To USD: those of the day of the copy" in page_of(currency="USD", rates="static").text
    assert "Exchange rates" not in page_of().text
