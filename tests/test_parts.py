"""A long document cut into parts, and the p-value that is made of theirs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mvh.calibration_mvh import decode_calibration, encode_calibration
from mvh.parts_mvh import factor, majority, majority_p_value, parts_of
from mvh.references_mvh import Document
from mvh.voting_mvh import document_p_value


def calibrated(longest):
    rng = np.random.default_rng(0)
    humans = [Document(rng.normal(size=1), np.array([longest]), "latin") for _ in range(249)]
    humans.insert(0, Document(np.zeros(1), np.ones(1, dtype=int), "latin"))  # so that no part is shorter than all
    return decode_calibration(encode_calibration(humans[:125], humans[125:], {}))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 3000), st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_parts_tile_the_document_and_none_is_longer_than_calibrated(longest, tokens):
    document = Document(np.arange(len(tokens), dtype=float), np.array(tokens), "latin", unread=0.01)
    parts = parts_of(document, calibrated(longest))
    assert np.array_equal(np.concatenate([part.margins for part in parts]), document.margins)
    assert np.array_equal(np.concatenate([part.core_tokens for part in parts]), document.core_tokens)
    assert all(part.script == "latin" and part.unread == 0.01 for part in parts)
    if len(parts) > 1:
        assert sum(tokens) > longest >= 2 * max(tokens) and max(part.tokens for part in parts) <= longest
    elif sum(tokens) > longest >= 2 * max(tokens):
        assert longest > min(tokens), "a part would have been shorter than any calibration document"


def test_parts_are_of_about_equal_length():
    document = Document(np.zeros(100), np.array([256] * 99 + [10]), "latin")
    parts = parts_of(document, calibrated(1977))
    sizes = [part.tokens for part in parts]
    assert len(parts) == 15 and max(sizes) - min(sizes) <= 512


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=12), st.floats(0.01, 0.5))
def test_flagged_where_most_parts_are(p_values, alpha):
    k, count = majority(len(p_values)), len(p_values)
    merged = majority_p_value(p_values)
    assert count / 2 < k <= count / 2 + 1 and 1 <= factor(count) < 2
    if not any(np.isclose(p * factor(count), alpha) for p in p_values):
        assert (merged <= alpha) == (sum(p <= alpha / factor(count) for p in p_values) >= k)


def test_the_rate_stays_below_alpha_whatever_the_dependence_between_parts():
    """Parts that are copies, independent, or so arranged that exactly a majority is small at once: Rueger's worst case."""
    rng = np.random.default_rng(1)
    draws, alpha = 40_000, 0.1
    for count in (2, 3, 5, 8):
        k = majority(count)
        copies = np.repeat(rng.random((draws, 1)), count, axis=1)
        independent = rng.random((draws, count))
        worst = alpha / factor(count) + (1 - alpha / factor(count)) * rng.random((draws, count))
        hit = np.flatnonzero(
            rng.random(draws) < alpha
        )  # k of the parts are small together: each is with chance alpha k / count
        for row in hit:
            worst[row, rng.permutation(count)[:k]] = rng.random(k) * alpha / factor(count)
        rates = [np.mean([majority_p_value(row) <= alpha for row in p]) for p in (copies, independent, worst)]
        slack = 4 * np.sqrt(alpha * (1 - alpha) / draws)
        assert max(rates) <= alpha + slack and abs(rates[2] - alpha) <= slack, (count, rates)


def test_human_documents_of_parts_like_the_calibration_are_flagged_no_more_than_alpha():
    """Of the statistic that the shipped detectors use, however much the parts of a text resemble each other."""
    rng = np.random.default_rng(2)
    rates: dict[float, list[float]] = {0.0: [], 0.5: [], 0.9: [], 1.0: []}
    for _ in range(60):
        humans = [Document(rng.normal(size=1), np.array([256]), "latin") for _ in range(299)]
        humans.append(Document(rng.normal(size=1), np.array([512]), "latin"))
        calibration = decode_calibration(encode_calibration(humans[:150], humans[150:], {}))
        for shared, found in rates.items():
            margins = np.sqrt(shared) * rng.normal(size=(40, 1)) + np.sqrt(1 - shared) * rng.normal(size=(40, 3))
            texts = [Document(row, np.full(3, 256), "latin") for row in margins]
            assert len(parts_of(texts[0], calibration)) == 3
            found.append(float(np.mean([document_p_value(text, calibration) <= 0.1 for text in texts])))
    assert all(np.mean(found) <= 0.1 for found in rates.values()) and np.mean(rates[1.0]) > 0.04
