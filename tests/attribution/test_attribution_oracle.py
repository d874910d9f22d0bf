"""Any firm, once more: the rules written down a second time, plainly and slowly, must give the same credits and gaps."""

from collections import Counter, defaultdict
from decimal import Decimal
from unittest import mock

import pytest
from earning import AS_OF, credits_of, resolved
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gap_ledger import MEMBERSHIPS, PAIRS, opportunities, tables_of

AS_OF_S = int(AS_OF.timestamp())
UNIT = {"EUR": 100, "JPY": 10_000, "KWD": 10, "GBP": 100, None: 100}


def links(tables, key, mode):
    with_role = {row["person_key"] for row in tables["roles"] if row["opportunity_key"] == key}
    accounts = {row["account_id"] for row in tables["opportunity_accounts"] if row["opportunity_key"] == key}
    at_account = {row["person_key"] for row in tables["contacts"] if row["account_id"] in accounts}
    return {"explicit": with_role, "hybrid": with_role or at_account, "implicit": at_account}[mode]


def touches_of(rows_by_campaign, touches):
    """(second or None, person, campaign) of every touch that counts, in order."""
    found = []
    for (who, name), rows in rows_by_campaign.items():
        responses = [row for row in rows if row["has_responded"]]
        if responses or touches == "all":
            known = [row["responded_s"] for row in responses if row["responded_s"]]
            known = known or [row["responded_s"] for row in rows if row["responded_s"]]
            found.append((min(known, default=None), who, name))
    return found


def journey(tables, deal, mode, touches, lookback_s):
    """(residual, the campaigns of the touches in order)."""
    people = links(tables, deal["opportunity_key"], mode)
    met = defaultdict(list)
    for row in tables["responses"]:
        if row["person_key"] in people:
            met[row["person_key"], row["campaign_id"]].append(row)
    end_s = deal["close_s"] if deal["is_closed"] else AS_OF_S
    counting = touches_of(met, touches)
    dated = sorted(one for one in counting if one[0] is not None)
    before = [one for one in dated if end_s is not None and one[0] <= end_s]
    inside = [name for second, _, name in before if second >= end_s - lookback_s]
    faults = {
        "missing_amount": deal["amount"] is None,
        "missing_date": end_s is None,
        "no_role": not people,
        "no_touch": not met,
        "no_response": not counting,
        "undated_touch": not dated,
        "only_after_close" if deal["is_closed"] else "only_in_future": not before,
        "outside_lookback": not inside,
    }
    residual = next((name for name, is_so in faults.items() if is_so), "attributed")
    return residual, inside if residual == "attributed" else []


def shares(amount, currency, weights):
    """Running totals, rounded down to whole units towards zero."""
    ten_thousandths = int(amount * 10_000)
    unit = UNIT[currency] if ten_thousandths % UNIT[currency] == 0 else 1
    value, sign = abs(ten_thousandths) // unit, 1 if ten_thousandths >= 0 else -1
    total, so_far, given_out = sum(weights), 0, []
    for weight in weights:
        given_out.append(value * (so_far + weight) // total - value * so_far // total)
        so_far += weight
    return [Decimal(sign * share * unit).scaleb(-4) for share in given_out]


def weights(model, path):
    if model == "linear":
        return [1] * len(path)
    if model == "first":
        return [1] + [0] * (len(path) - 1)
    if model == "u_adobe":
        if len(path) <= 2:
            return [1] * len(path)
        return [2 * (len(path) - 2), *[1] * (len(path) - 2), 2 * (len(path) - 2)]
    return [int(name not in path[:place]) for place, name in enumerate(path)]


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    st.lists(opportunities(), min_size=1, max_size=8),
    st.lists(MEMBERSHIPS, min_size=2, max_size=14),
    PAIRS,
    st.sampled_from(["explicit", "hybrid", "implicit"]),
    st.sampled_from(["responded", "all"]),
    st.sampled_from([90, 365]),
)
def test_the_plain_rules_give_the_same(deals, members, roles, mode, touches, lookback_days):
    tables = tables_of(deals, members, roles)
    models = ("linear", "first", "u_adobe", "shapley")
    with mock.patch("crmbridge.attribution.attribute.LEAST_JOURNEYS", 0):
        found = resolved(tables, mode=mode, touches=touches, lookback_days=lookback_days, models=models)
    residual, credited = {}, {model: {"won": Counter(), "open": Counter()} for model in models}
    for deal in tables["opportunities"]:
        if deal["is_closed"] and not deal["is_won"]:
            continue
        residual[deal["opportunity_id"]], path = journey(tables, deal, mode, touches, lookback_days * 86_400)
        for model in models if path else ():
            for name, share in zip(path, shares(deal["amount"], deal["currency"], weights(model, path)), strict=True):
                credited[model]["won" if deal["is_won"] else "open"][name] += share
    gaps = {row["opportunity_id"]: row["residual"] for row in found.gaps.to_pylist()}
    assert gaps == {name: reason for name, reason in residual.items() if reason != "attributed"}
    for model in models:
        for state in ("won", "open"):
            expected = {name: credit for name, credit in credited[model][state].items() if credit}
            assert credits_of(found, model, state=state) == expected
