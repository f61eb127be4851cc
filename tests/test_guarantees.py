"""What is promised about error rates, held against simulations whose truth is known.

Scores are Gaussian and documents clustered: segments share an effect of their document, and neighbours overlap
(correlation 0.2 beyond it). Seeds are fixed. A simulated mean may leave its promise by four of its own standard errors,
taken over calibration draws (documents of one draw share it, so they are no independent trials) or, where draws are
independent trials, binomial: a right method fails such a test once in 30,000 seeds. `pytest -m slow` repeats the
simulations with about ten times as many draws and so a third of the tolerance.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mvh.calibration_mvh import Document, decode_calibration, encode_calibration, length_groups
from mvh.corrections_mvh import adjust, simes
from mvh.pvalues_mvh import conformal_p_values, false_alarm_interval, with_confidence
from mvh.statistics_mvh import STATISTICS
from mvh.voting_mvh import decide, screen

quick_and_long = pytest.mark.parametrize("size", [1, pytest.param(10, marks=pytest.mark.slow)])
ERRORS = 4.0  # standard errors


def limit(rates, promised):
    """The most that the mean of these rates, one per independent draw, may be under a promise."""
    return promised + ERRORS * np.std(rates, ddof=1) / np.sqrt(len(rates))


def binomial(trials, rate):
    """Four binomial standard errors."""
    return ERRORS * np.sqrt(rate * (1 - rate) / trials)


def margins(rng, segments, document_sd=0.7):
    """Standard normal margins of one document: a shared effect, and neighbours correlated by 0.2 beyond it."""
    noise = rng.normal(size=segments + 1)
    own = (noise[1:] + 0.2087 * noise[:-1]) / np.sqrt(1 + 0.2087**2)  # 0.2087 / (1 + 0.2087^2) = 0.2
    return document_sd * rng.normal() + np.sqrt(1 - document_sd**2) * own


def human(rng, count, long_shift=0.0, document_sd=0.7):
    """Human documents of 1 to 12 segments; long ones may score higher."""
    sizes = rng.choice([1, 1, 2, 3, 5, 12], size=count)
    return [Document(margins(rng, m, document_sd) + long_shift * (m > 3), np.full(m, 256), "latin") for m in sizes]


def calibration_of(rng, segment=40, per_group=19, statistic="mean_margin", long_shift=0.0):
    """A packed and read calibration with length groups, as users carry it, and so small that every +1 counts.

    19 documents in each group: at alpha 0.05 exactly one rank in 20 is flagged, at 0.1 two.
    """
    sides = human(rng, segment, long_shift), human(rng, 16 * per_group, long_shift)
    groups = length_groups(sides[0], segment // 4)
    whole = [[d for d in sides[1] if group.holds(d.script, d.tokens)][:per_group] for group in groups]
    return decode_calibration(encode_calibration(sides[0], sum(whole, []), {}, statistic, minimum=segment // 4))


# --- p-values -------------------------------------------------------------------------------------------------------


@quick_and_long
def test_p_values_of_exchangeable_scores_are_super_uniform_and_not_wasteful(size):
    """19 calibration scores: P(p <= 0.05) is exactly 1 / 20, so one exceedance more or less would double or empty it."""
    rng = np.random.default_rng(1)
    draws = 4000 * size
    scores = np.sort(rng.normal(size=(draws, 19)))
    new = rng.normal(size=(draws, 1))
    p = np.array([conformal_p_values(n, s, np.ones(19))[0] for n, s in zip(new, scores, strict=True)])
    for alpha in (0.05, 0.1, 0.25, 0.5):
        assert abs((p <= alpha).mean() - alpha) <= binomial(draws, alpha)


def clustered_draws(draws, seed):
    """Rates of p <= 0.05 for a random segment of new documents where short documents score higher, by weighting."""
    rng = np.random.default_rng(seed)
    weighted, pooled = [], []
    for _ in range(draws):
        segments = rng.choice([2, 40], size=60)
        owner = np.repeat(np.arange(60), segments)
        effect = np.where(segments == 2, 1.0, -1.0) + 0.5 * rng.normal(size=60)
        scores = effect[owner] + rng.normal(size=len(owner))
        order = np.argsort(scores)
        lengths = rng.choice([2, 40], size=100)
        new = np.where(lengths == 2, 1.0, -1.0) + np.sqrt(1.25) * rng.normal(size=100)  # one segment of each document
        for weights, rates in ((1 / segments[owner], weighted), (np.ones(len(owner)), pooled)):
            rates.append((conformal_p_values(new, scores[order], weights[order]) <= 0.05).mean())
    return weighted, pooled


@quick_and_long
def test_a_random_segment_of_a_clustered_document_needs_document_weights(size):
    """Every document counts once: valid. All segments in one pool: long documents dominate it and short ones pay."""
    weighted, pooled = clustered_draws(150 * size, seed=2)
    assert np.mean(weighted) <= limit(weighted, 0.05)
    assert np.mean(weighted) > 0.03, "valid, and not by never rejecting"
    assert np.mean(pooled) > 0.08, "if pooling were valid here, this test could not show why documents are weighted"


# --- the document -------------------------------------------------------------------------------------------------


@quick_and_long
@pytest.mark.parametrize("statistic", list(STATISTICS))
def test_document_false_alarms_are_at_most_alpha_for_every_statistic(statistic, size):
    """Over calibration draws, dependence inside documents and mixed lengths, as users meet it: packed, read, decided.

    A rank too many would make it 0.1 at alpha 0.05.
    """
    rng = np.random.default_rng(3)
    rates = {0.05: [], 0.1: [], 0.2: []}
    groups = set()
    for _ in range(30 * size):
        calibration = calibration_of(rng, statistic=statistic, long_shift=0.7)
        results = [decide(d, calibration, 0.1, "none", "calibrated", "conformal") for d in human(rng, 50, 0.7)]
        groups |= {result["calibration"]["group"] for result in results}
        p_values = np.array([result["p_value"] for result in results])
        for alpha, found in rates.items():
            found.append((p_values <= alpha).mean())
        flagged = np.array([result["label"] == 1 for result in results])
        assert (flagged <= (p_values <= 0.1)).all()
    assert len(groups) > 1, "the promise must be tried with groups"
    for alpha, found in rates.items():
        assert np.mean(found) <= limit(found, alpha), (statistic, alpha)
    assert np.mean(rates[0.2]) > 0.1, "valid, and not by never flagging"


@quick_and_long
def test_every_length_keeps_its_false_alarm_rate_where_lengths_differ(size):
    """Groups: long documents that score higher are compared with long ones. Without groups they would be accused."""
    rng = np.random.default_rng(4)
    grouped, pooled = [], []
    for _ in range(30 * size):
        calibration = calibration_of(rng, long_shift=2.0)
        alone = decode_calibration(encode_calibration(human(rng, 40, 2.0), human(rng, 60, 2.0), {}, minimum=999))
        new = [d for d in human(rng, 60, 2.0) if len(d.margins) > 3]
        for where, rates in ((calibration, grouped), (alone, pooled)):
            p_values = [decide(d, where, 0.1, "none", "calibrated", "conformal")["p_value"] for d in new]
            rates.append(np.mean(np.array(p_values) <= 0.1))
    assert np.mean(grouped) <= limit(grouped, 0.1)
    assert np.mean(pooled) > 0.15, "if lengths could share one pool here, this test could not show why they do not"


@quick_and_long
def test_a_rare_script_is_compared_with_its_like_only(size):
    """One text in ten is in another script and scores 2 sd higher: neither the whole nor that script is flagged too often."""
    rng = np.random.default_rng(11)

    def mixed(count):
        texts = human(rng, count)
        return [replace(d, margins=d.margins + 2, script="cyrillic") if rng.random() < 0.1 else d for d in texts]

    flagged, rare, any_flag = [], [], []
    for _ in range(25 * size):
        calibration = decode_calibration(encode_calibration(mixed(300), mixed(300), {}, minimum=60))
        assert {group.script for group in calibration.groups} == {"latin"}
        new = mixed(150)
        verdicts = [decide(d, calibration, 0.05, "calibrated", "calibrated", "conformal") for d in new]
        machine = np.array([verdict["label"] == 1 for verdict in verdicts])
        flagged.append(machine.mean())
        rare.append(machine[[d.script == "cyrillic" for d in new]].mean())
        any_flag.append(np.mean([verdict["rejected"].any() for verdict in verdicts]))
    assert np.mean(flagged) <= limit(flagged, 0.05)
    assert np.mean(rare) <= limit(rare, 0.05)
    assert np.mean(any_flag) <= limit(any_flag, 0.05)


@quick_and_long
def test_every_source_keeps_its_false_alarm_rate_where_each_counts(size):
    """One text in four is of a source that scores 1.5 sd higher: among the mixture alone it would be accused."""
    rng = np.random.default_rng(12)

    def mixed(count):
        texts = human(rng, count)
        return [
            replace(d, margins=d.margins + 1.5, source="posts") if rng.random() < 0.25 else replace(d, source="essays")
            for d in texts
        ]

    rates = {(each, name): [] for each in (False, True) for name in ("essays", "posts", "any flag")}
    for _ in range(25 * size):
        sides, new = (mixed(200), mixed(400)), mixed(200)
        of = np.array([d.source for d in new])
        for each in (False, True):
            calibration = decode_calibration(encode_calibration(*sides, {}, minimum=60, by_source=each))
            verdicts = [decide(d, calibration, 0.05, "calibrated", "calibrated", "conformal") for d in new]
            for name in ("essays", "posts"):
                rates[each, name].append(
                    np.mean([v["label"] == 1 for v, s in zip(verdicts, of, strict=True) if s == name])
                )
            flags = [v["rejected"].any() for v, s in zip(verdicts, of, strict=True) if s == "posts"]
            rates[each, "any flag"].append(np.mean(flags))
    for name in ("essays", "posts", "any flag"):
        assert np.mean(rates[True, name]) <= limit(rates[True, name], 0.05), name
    assert np.mean(rates[True, "posts"]) > 0.03, "valid, and not by never flagging"
    assert min(np.mean(rates[False, name]) for name in ("posts", "any flag")) > 0.08, (
        "the mixture's rate must not do here"
    )


def realised_rate(scores, flagged):
    """Exact false-alarm rate of a rule on new uniform scores: those above the lowest flagged calibration score.

    `flagged[k]` says whether a score just above the k-th of the ascending calibration scores is flagged.
    """
    return 1.0 - scores[np.argmax(flagged)] if flagged.any() else 0.0


@quick_and_long
@pytest.mark.parametrize(("documents", "alpha", "confidence"), [(99, 0.1, 0.9), (199, 0.05, 0.8), (400, 0.05, 0.95)])
def test_with_confidence_nearly_every_calibration_keeps_the_rate(documents, alpha, confidence, size):
    """The realised rate, exact for uniform scores, is at most alpha in a share `confidence` of draws; marginal: half."""
    rng = np.random.default_rng(5)
    draws = 400 * size
    kept, marginal = [], []
    for _ in range(draws):
        scores = np.sort(rng.uniform(size=documents))
        p_values = conformal_p_values(scores + 1e-12, scores, np.ones(documents))
        kept.append(realised_rate(scores, with_confidence(p_values, documents, confidence) <= alpha) <= alpha)
        marginal.append(realised_rate(scores, p_values <= alpha))
    rank = (with_confidence(np.arange(1, documents + 1) / (documents + 1), documents, confidence) <= alpha).sum()
    exact = stats.beta.cdf(alpha, rank, documents + 1 - rank)  # whole ranks keep a little more than asked
    assert exact >= confidence
    assert abs(np.mean(kept) - exact) <= binomial(draws, exact)
    assert np.mean(marginal) == pytest.approx(alpha, abs=ERRORS * np.std(marginal) / np.sqrt(draws))
    assert 0.3 < np.mean(np.array(marginal) <= alpha) < 0.7


@quick_and_long
@pytest.mark.parametrize(("documents", "alpha"), [(99, 0.1), (199, 0.05), (662, 0.05), (150, 0.01)])
def test_the_interval_holds_the_realised_rate_in_nine_draws_of_ten(documents, alpha, size):
    rng = np.random.default_rng(6)
    draws = 600 * size
    low, high = false_alarm_interval(documents, alpha, 0.9)
    rates = []
    for _ in range(draws):
        scores = np.sort(rng.uniform(size=documents))
        rates.append(
            realised_rate(scores, conformal_p_values(scores + 1e-12, scores, np.ones(documents)) <= alpha + 1e-12)
        )
    below, above = (np.array(rates) < low).mean(), (np.array(rates) > high).mean()
    assert abs(below - 0.05) <= binomial(draws, 0.05) and abs(above - 0.05) <= binomial(draws, 0.05)


@pytest.mark.parametrize(("n", "alpha", "quantile"), [(1000, 0.05, 0.0618), (1000, 0.01, 0.0157), (200, 0.05, 0.0772)])
def test_beta_quantiles_of_the_realised_rate(n, alpha, quantile):
    """The published 95 % quantiles; the interval's upper end must be the same number."""
    rank = int((n + 1) * alpha)
    assert round(stats.beta.ppf(0.95, rank, n + 1 - rank), 4) == quantile
    assert round(false_alarm_interval(n, alpha, 0.9)[1], 4) == quantile


# --- corrections over segments --------------------------------------------------------------------------------------


@quick_and_long
@pytest.mark.parametrize("alpha", [0.05, 0.1])
@pytest.mark.parametrize("segment", [20, 60])
def test_calibrated_flags_anything_in_at_most_alpha_of_human_documents(alpha, segment, size):
    """Whatever the dependence inside a document; 20 documents make p-values so coarse that ties are everyday."""
    rng = np.random.default_rng(7)
    rates, long_rates = [], []
    for _ in range(30 * size):
        calibration = calibration_of(rng, segment=segment, long_shift=1.5)
        new = human(rng, 40, 1.5)
        flags = np.array(
            [decide(d, calibration, alpha, "calibrated", "any", "conformal")["rejected"].any() for d in new]
        )
        rates.append(flags.mean())
        long_rates.append(flags[[len(d.margins) > 3 for d in new]].mean())
    assert np.mean(rates) <= limit(rates, alpha)
    assert np.mean(long_rates) <= limit(long_rates, alpha), "in each group by itself"
    assert segment == 20 or np.mean(rates) > alpha / 3, "valid, and not by never flagging"


def error_rates(p_values, null, correction, alpha):
    """Mean share of false flags (FDR) and share of rows with any false flag, of p-values (rows, m)."""
    rejected = np.array([adjust(row, correction) <= alpha for row in p_values])
    false = (rejected & null).sum(axis=1)
    return np.mean(false / np.maximum(rejected.sum(axis=1), 1)), np.mean(false > 0)


@quick_and_long
def test_corrections_under_independence(size):
    """20 independent segments, none or ten of them machine: FDR of BH is alpha m0 / m exactly, the others below."""
    rng = np.random.default_rng(8)
    rows, m, alpha = 2500 * size, 20, 0.1
    all_human = rng.uniform(size=(rows, m))
    null = np.arange(m) < 10
    mixed = np.where(null, all_human, stats.norm.sf(rng.normal(size=(rows, m)) + 3))
    tolerance = binomial(rows, alpha)
    for correction in ("bh", "by", "holm", "bonferroni"):
        fdr, any_flag = error_rates(all_human, np.ones(m, bool), correction, alpha)
        assert fdr == pytest.approx(any_flag) and any_flag <= alpha + tolerance, correction
        fdr, any_flag = error_rates(mixed, null, correction, alpha)
        assert fdr <= alpha / 2 + tolerance, correction
        if correction in ("holm", "bonferroni"):
            assert any_flag <= alpha + tolerance, correction
    assert abs(error_rates(all_human, np.ones(m, bool), "bh", alpha)[0] - alpha) <= tolerance
    assert abs(error_rates(mixed, null, "bh", alpha)[0] - alpha / 2) <= tolerance / 2
    assert error_rates(all_human, np.ones(m, bool), "none", alpha)[1] == pytest.approx(1 - 0.9**m, abs=tolerance)


@quick_and_long
def test_corrections_under_dependence_within_documents(size):
    """20 segments of one document, p-values valid for each: positive dependence makes every correction err less."""
    rng = np.random.default_rng(9)
    rows, m, alpha = 1500 * size, 20, 0.1
    p_values = stats.norm.sf(np.array([margins(rng, m) for _ in range(rows)]))
    for correction in ("bh", "by", "holm", "bonferroni"):
        assert error_rates(p_values, np.ones(m, bool), correction, alpha)[1] <= alpha + binomial(rows, alpha)
    assert error_rates(p_values, np.ones(m, bool), "none", alpha)[1] > 0.3


def least_favourable(rng, rows, m, alpha):
    """p-values (rows, m), each uniform, on which BH errs most: any flag with probability alpha (1 + 1/2 + ... + 1/m).

    With probability alpha / k, exactly k of them lie in ((k - 1) alpha / m, k alpha / m] and the others above alpha
    (Hommel 1983).
    """
    sizes = np.arange(1, m + 1)
    probabilities = np.append(alpha / sizes, 1 - alpha * (1 / sizes).sum())
    k = rng.choice(np.append(sizes, 0), size=rows, p=probabilities)[:, None]  # (rows, 1)
    small = rng.permuted(np.tile(np.arange(m), (rows, 1)), axis=1) < k
    u = rng.uniform(size=(rows, m))
    return np.where(small, (k - 1 + u) * alpha / m, alpha + u * (1 - alpha))


@quick_and_long
def test_by_holds_where_bh_fails_under_the_worst_dependence(size):
    rng = np.random.default_rng(10)
    rows, m, alpha = 3000 * size, 10, 0.1
    harmonic = (1 / np.arange(1, m + 1)).sum()
    null = np.ones(m, bool)
    worst_for_bh = least_favourable(rng, rows, m, alpha)
    grid = np.linspace(0.01, 0.99, 50)
    assert np.abs((worst_for_bh[:, 0, None] <= grid).mean(axis=0) - grid).max() <= ERRORS * 0.5 / np.sqrt(rows)
    expected = alpha * harmonic
    assert abs(error_rates(worst_for_bh, null, "bh", alpha)[1] - expected) <= binomial(rows, expected)
    worst_for_by = least_favourable(rng, rows, m, alpha / harmonic)
    assert abs(error_rates(worst_for_by, null, "by", alpha)[1] - alpha) <= binomial(rows, alpha)
    for p_values in (worst_for_bh, worst_for_by):
        for correction in ("by", "holm", "bonferroni"):
            assert error_rates(p_values, null, correction, alpha)[1] <= alpha + binomial(rows, alpha), correction


@quick_and_long
def test_corrections_over_conformal_p_values_are_empirical(size):
    """Where long documents score higher, p-values valid for a random segment let even Bonferroni err on long ones."""
    rng = np.random.default_rng(11)
    rates = {"bonferroni": [], "calibrated": []}
    for _ in range(15 * size):
        sides = (human(rng, count, 1.5, document_sd=0.3) for count in (300, 160))
        calibration = decode_calibration(encode_calibration(*sides, {}, minimum=60))
        new = [d for d in human(rng, 90, 1.5, document_sd=0.3) if len(d.margins) == 12]
        for correction, found in rates.items():
            results = [decide(d, calibration, 0.1, correction, "any", "conformal") for d in new]
            found.append(np.mean([result["rejected"].any() for result in results]))
    assert np.mean(rates["calibrated"]) <= limit(rates["calibrated"], 0.1)
    assert np.mean(rates["bonferroni"]) > 0.14, "if it held here, the docs would warn in vain"


# --- many documents at once -----------------------------------------------------------------------------------------


@quick_and_long
def test_screening_keeps_the_share_of_innocent_flags(size):
    """BH across documents that share one calibration: FDR at most alpha (PRDS, Bates et al. 2023)."""
    rng = np.random.default_rng(12)
    together, alone = [], []
    for _ in range(300 * size):
        scores = np.sort(rng.normal(size=500))
        new = rng.normal(size=100) + 4.0 * (np.arange(100) >= 90)  # the last ten are machine
        report = screen(conformal_p_values(new, scores, np.ones(500)), 0.1, prevalence=0.1)
        for key, rates in (("flagged_together", together), ("flagged_alone", alone)):
            flagged = np.array(report[key], int)
            rates.append((flagged < 90).sum() / max(len(flagged), 1))
    assert np.mean(together) <= limit(together, 0.09)
    assert np.mean(alone) > 0.35
    assert report["innocent_share"] == pytest.approx(0.9 * 100 * 0.1 / len(report["flagged_alone"]))


def test_simes_is_valid_for_the_worst_document_only_with_its_harmonic_factor():
    """Why the document's Simes value is ranked among human documents and not read as a p-value."""
    rng = np.random.default_rng(13)
    values = np.array([simes(row) for row in least_favourable(rng, 4000, 10, 0.1)])
    assert (values <= 0.1).mean() > 0.2
