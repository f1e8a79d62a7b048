"""Distances on histograms, against scipy on the values themselves where every value has a bin of its own."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from featurelayer.monitor.distances import FLOOR, SharePair, jensen_shannon, kolmogorov_smirnov, psi, wasserstein
from featurelayer.monitor.statistics import ColumnStats
from tests.profiles import examples

EDGES = tuple(float(number) for number in range(8))
VALUES = st.lists(st.integers(0, 7), min_size=2, max_size=60)


def seen(values: list[int]) -> ColumnStats:
    counted = Counter(values)
    return ColumnStats(
        rows=len(values), values=len(values), numbers=len(values), edges=EDGES, shape_rows=len(values),
        counts=(*(counted[int(edge)] for edge in EDGES), 0), minimum=min(values), maximum=max(values),
        total=sum(values), squares=sum(value * value for value in values),
    )  # fmt: skip


def pair(one: list[int], other: list[int]) -> SharePair:
    found = SharePair.from_stats(seen(one), seen(other))
    assert found is not None
    return found


@given(one=VALUES, other=VALUES)
@settings(max_examples=examples(100))
def test_ks_is_that_of_the_values(one: list[int], other: list[int]) -> None:
    assert kolmogorov_smirnov(pair(one, other)) == pytest.approx(stats.ks_2samp(one, other, method="asymp").statistic)


@given(one=VALUES, other=VALUES)
@settings(max_examples=examples(100))
def test_wasserstein_is_that_of_the_values_in_standard_deviations(one: list[int], other: list[int]) -> None:
    found = wasserstein(pair(one, other))
    spread = np.std(one, ddof=1)
    if spread == 0:
        assert found is None
        return
    # A bin's middle is half a bin below its one value, but for the first; so up to half a bin is allowed.
    expected = stats.wasserstein_distance(one, other)
    assert found is not None
    assert abs(found * spread - expected) <= 0.5 + 1e-9


@given(one=VALUES, other=VALUES)
@settings(max_examples=examples(100))
def test_psi_and_js_are_their_definitions(one: list[int], other: list[int]) -> None:
    found = pair(one, other)
    raised = [[max(share, FLOOR) for share in shares] for shares in (found.one, found.other)]
    p, q = ([share / sum(shares) for share in shares] for shares in raised)
    assert psi(found) == pytest.approx(sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True)), abs=1e-12)
    middle = [(a + b) / 2 for a, b in zip(found.one, found.other, strict=True)]
    entropy = sum(stats.entropy(shares, middle, base=2) for shares in (found.one, found.other)) / 2
    assert jensen_shannon(found) == pytest.approx(math.sqrt(max(entropy, 0)), abs=1e-6)


@given(one=VALUES, other=VALUES)
@settings(max_examples=examples(50))
def test_distances_are_symmetric_and_nothing_of_equal_shares(one: list[int], other: list[int]) -> None:
    for distance in (psi, jensen_shannon, kolmogorov_smirnov):
        assert distance(pair(one, other)) == pytest.approx(distance(pair(other, one)), abs=1e-9)
        assert distance(pair(one, one * 3)) == pytest.approx(0, abs=1e-7)
    assert jensen_shannon(pair(one, other)) <= 1 + 1e-9
    assert (kolmogorov_smirnov(pair(one, other)) or 0) <= 1 + 1e-9


def test_a_bin_of_its_own_for_what_was_never_there_makes_psi_large_and_finite() -> None:
    assert psi(pair([1] * 100, [2] * 100)) == pytest.approx(2 * (1 - FLOOR) * math.log(1 / FLOOR), rel=0.01)


def test_names_have_no_order_and_too_many_of_them_no_distance() -> None:
    one, other = (ColumnStats(rows=10, values=10, top=top) for top in ((("a", 6), ("b", 4)), (("b", 5), ("c", 5))))
    found = SharePair.from_stats(one, other)
    assert found == SharePair(one=(0.6, 0.4, 0.0), other=(0.0, 0.5, 0.5))
    assert found is not None
    assert (kolmogorov_smirnov(found), wasserstein(found)) == (None, None)
    assert SharePair.from_stats(one, ColumnStats(rows=20, values=20, top=(("a", 6),))) is None
    assert SharePair.from_stats(seen([1, 2]), ColumnStats(rows=2, values=2, edges=(0.0, 1.0), counts=(1, 1, 0))) is None


def test_a_far_outlier_moves_the_end_of_the_last_bin() -> None:
    quiet, glitch = seen([1, 2, 3, 4] * 50), seen([1, 2, 3, 4] * 50)
    counts = (*glitch.counts[:4], 49, *glitch.counts[5:-1], 1)
    glitch = ColumnStats(rows=200, values=200, numbers=200, edges=EDGES, counts=counts, minimum=1, maximum=1048.0)
    found = SharePair.from_stats(quiet, glitch)
    assert found is not None
    assert found.positions[-1] == (7 + 1048) / 2
    assert all(low <= high for low, high in itertools.pairwise(found.positions))
