"""Durations: text and timedelta, both ways, exactly."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurelayer.durations import format_duration, microseconds, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 minutes", timedelta(minutes=30)),
        ("1 day 12 hours", timedelta(hours=36)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
        ("90 min", timedelta(minutes=90)),
        ("1H30M", timedelta(minutes=90)),
        ("0 days", timedelta()),
        (" 5  seconds ", timedelta(seconds=5)),
        ("1us", timedelta(microseconds=1)),
        ("3 ms", timedelta(milliseconds=3)),
    ],
)
def test_a_text_is_a_duration(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "7", "days", "-1 day", "1.5 hours", "1 month", "1 year", "1 day later", "a 1 day"]
)
def test_what_is_no_duration_says_what_is(text):
    with pytest.raises(ValueError, match="is not a duration; write a whole number and a unit"):
        parse_duration(text)


def test_a_duration_beyond_what_can_be_held_is_an_error():
    with pytest.raises(ValueError, match="longer than a duration can be"):
        parse_duration("99999999999999 weeks")


@given(st.timedeltas(min_value=timedelta()))
def test_the_text_of_a_duration_reads_back(duration):
    assert parse_duration(format_duration(duration)) == duration


def test_the_text_is_in_the_largest_unit_that_divides_it():
    assert format_duration(timedelta(hours=24)) == "1 day"
    assert format_duration(timedelta(days=14)) == "14 days"
    assert format_duration(timedelta(minutes=90)) == "90 minutes"
    assert format_duration(timedelta(microseconds=1)) == "1 microsecond"


@given(st.timedeltas())
def test_microseconds_are_exact(duration):
    assert timedelta(microseconds=microseconds(duration)) == duration
