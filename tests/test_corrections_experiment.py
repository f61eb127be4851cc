"""The rivals of the corrections' table are what their names say, and the experiment runs."""

import json
from itertools import combinations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from mvh.experiments import corrections as experiment


@pytest.mark.parametrize("m", [1, 2, 9])
def test_hommel_equals_statsmodels(m):
    rng = np.random.default_rng(m)
    for p in rng.uniform(size=(5, m)) ** 3:
        assert (experiment.hommel(p, 0.1) == multipletests(p, 0.1, method="hommel")[0]).all()


def test_harmonic_equals_closed_testing_over_every_subset():
    for p in np.random.default_rng(0).uniform(size=(40, 6)) ** 3:
        rejected = np.ones(6, bool)
        for k in range(1, 7):
            for chosen in combinations(range(6), k):
                if k / np.sum(1 / p[list(chosen)]) > 0.1:
                    rejected[list(chosen)] = False
        assert (experiment.harmonic(p, 0.1) == rejected).all()


def test_harmonic_factor_equals_the_published_ones():
    """Vovk and Wang 2020: two p-values need the factor 2, three 2.499 log 3."""
    assert experiment.harmonic_factor(2) == 2
    assert experiment.harmonic_factor(3) / np.log(3) == pytest.approx(2.499, abs=5e-4)


def test_e_bh_rejects_the_largest_e_values():
    assert experiment.e_bh(np.array([1e-9, 0.5, 1e-9, 0.9]), 0.05).tolist() == [True, False, True, False]
    assert not experiment.e_bh(np.full(5, 0.01), 0.05).any()


def test_passages_are_one_run_of_the_wanted_length():
    machine = experiment.passages(np.random.default_rng(0), 50, 10, 0.3)
    assert (machine.sum(axis=1) == 3).all() and (np.abs(np.diff(machine.astype(int), axis=1)).sum(axis=1) <= 2).all()
    assert not experiment.passages(np.random.default_rng(0), 5, 3, 0.0).any()


@pytest.mark.slow
def test_the_experiment_writes_its_page(tmp_path):
    experiment.main(["--out", str(tmp_path / "corrections.json"), "--quick", "--documents", "4"])
    rows = json.loads((tmp_path / "corrections.json").read_text())["rows"]
    assert {row["method"] for row in rows} == set(experiment.METHODS)
    page = (tmp_path / "corrections.md").read_text()
    assert all(f"| {method} |" in page for method in experiment.METHODS)
