"""How names are read: parts, words, and the name that lint proposes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.lint.settings import NamingBlock
from featurelayer.lint.vocabulary import Vocabulary
from tests.profiles import examples

USUAL = Vocabulary(NamingBlock())


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("avg_val_30", "val_mean_30d"),
        ("average_value_last_month", "value_mean_30d"),
        ("order_count_last_30_days", "order_count_30d"),
        ("l30d_orders", "orders_30d"),
        ("last_7d_sum_amount", "amount_sum_7d"),
        ("std_dev_amount", "amount_stddev"),
        ("avgDelay30d", "delay_mean_30d"),
        ("orders_7d", "orders_7d"),
        ("orders_90min", "orders_90min"),
        ("orders_24h", "orders_1d"),
    ],
)
def test_a_name_is_said_back_in_the_order_of_the_grammar(name, proposed):
    assert USUAL.suggest(USUAL.read(name)) == proposed


@pytest.mark.parametrize(
    "name",
    ["last_order_at", "days_since_signup", "flight_number", "wind_speed_10m", "first_name", "is_weekend", "lag_1",
     "score_v2", "ratio_7d_28d", "delay_mean_max",
     "country", "sum", "q1_sales", "address1", "top_10_share",
     "spend_mtd", "is_last_month", "was_last_week", "is_in_last_year", "is_last_7_days", "last_day_of_month",
     "is_last_day_of_quarter"],
)  # fmt: skip
def test_a_name_without_an_aggregate_and_a_window_is_all_what_it_is_about(name):
    read = USUAL.read(name)
    assert (read.aggregate, read.window) == ("", None)
    assert USUAL.suggest(read) == name


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("x_30min", 1800), ("x_24h", 86400), ("x_1d", 86400), ("x_2w", 14 * 86400), ("x_last_month", 30 * 86400),
     ("x_4_weeks", 28 * 86400), ("x_1y", 365 * 86400), ("x_past_90_days", 90 * 86400), ("x_3mo", 90 * 86400)],
)  # fmt: skip
def test_a_window_has_a_length(name, seconds):
    window = USUAL.read(name).window
    assert window is not None
    assert window.seconds == seconds


@pytest.mark.parametrize("name", ["delay_mean_30", "delay_mean_3m"])
def test_a_window_without_a_unit_has_none(name):
    window = USUAL.read(name).window
    assert window is not None
    assert window.seconds is None


def test_min_is_minutes_where_the_unit_says_so():
    assert USUAL.read("delay_min").aggregate == "min"
    assert USUAL.read("delay_min", "minutes").aggregate == ""


def test_a_units_place_is_heeded_where_the_grammar_has_one():
    words = Vocabulary(NamingBlock(grammar="<what>_<unit>_<aggregate>_<window>"))
    read = words.read("usd_amount_sum_7d")
    assert not words.follows_grammar(read)
    assert words.suggest(read) == "amount_usd_sum_7d"


@pytest.mark.parametrize(
    ("one", "other"), [("val", "value"), ("amt", "amounts"), ("txn", "transactions"), ("categories", "category"),
                       ("mins", "minutes"), ("qty", "quantity")]
)  # fmt: skip
def test_abbreviations_and_plurals_are_one_word(one, other):
    assert USUAL.word(one) == USUAL.word(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("country", "county"), ("status", "statu"), ("pass", "passenger"), ("origin", "original"), ("class", "clas")],
)
def test_words_that_look_alike_are_two(one, other):
    assert USUAL.word(one) != USUAL.word(other)


WORDS = st.sampled_from(
    ["delay", "val", "order", "avg", "mean", "sum", "total", "max", "30", "30d", "last", "month", "7", "days", "4w",
     "3m", "min", "x", "usd", "l7d", "of", "count", "std", "dev", "1h", "p95", "v2"]
)  # fmt: skip


@settings(max_examples=examples(300))
@given(st.lists(WORDS, min_size=1, max_size=6).map("_".join))
def test_what_is_proposed_is_proposed_again(name):
    proposed = USUAL.suggest(USUAL.read(name))
    if proposed:
        again = USUAL.read(proposed)
        assert USUAL.suggest(again) == proposed
        assert USUAL.follows_grammar(again)


@settings(max_examples=examples(300))
@given(st.text(max_size=60), st.text(max_size=10))
def test_any_text_can_be_read(name, unit):
    USUAL.suggest(USUAL.read(name, unit))
