"""Worked examples of the coefficients, and simulated annotators whose error rates come out again."""

from __future__ import annotations

import csv
import json
from itertools import combinations

import numpy as np
import pytest

from mvh.dataset_builder.__main__ import main
from mvh.dataset_builder.agreement import cohen_kappa, dawid_skene, krippendorff_alpha, measure, verbal
from mvh.dataset_builder.tables import csv_records
from mvh.dataset_builder.votes import Vote, read_votes

Z = 4  # standard errors: a right estimate is further off in one of 16,000 cases


def table(*observers: str) -> list[Vote]:
    """Votes from one line per observer, a column per unit, a dot where there is no vote."""
    return [
        Vote(f"unit {unit}", f"observer {number}", int(value))
        for number, line in enumerate(observers)
        for unit, value in enumerate(line.split())
        if value != "."
    ]


# (share of false alarms, share of misses): careful ones, hasty ones, one who calls everything toxic, one who inverts
ANNOTATORS = [(0.05, 0.1)] * 6 + [(0.1, 0.3)] * 6 + [(0.3, 0.1)] * 6 + [(0.9, 0.05), (0.8, 0.8)]


def simulate(comments: int, seed: int, annotators: list = ANNOTATORS, toxic: float = 1 / 3) -> tuple[list, np.ndarray]:
    """Votes of annotators with known error rates, 3 to 8 on each comment, and the true labels."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(comments) < toxic).astype(int)
    votes = []
    for comment, label in enumerate(truth):
        for annotator in rng.choice(len(annotators), rng.integers(3, 9), replace=False):
            wrong = rng.random() < annotators[annotator][label]
            votes.append(Vote(f"comment {comment}", f"a{annotator}", int(label ^ wrong)))
    return votes, truth


# --- Krippendorff


def test_krippendorff_s_worked_examples():
    """Krippendorff (2011): example B, two observers and binary data, .095; example C, four observers with gaps, .743."""
    two = table("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")
    assert round(krippendorff_alpha(two), 3) == 0.095
    four = table(
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    )
    assert round(krippendorff_alpha(four), 3) == 0.743


def test_alpha_is_one_minus_observed_over_expected_disagreement():
    votes, _ = simulate(40, seed=3)
    by_comment: dict = {}
    for vote in votes:
        by_comment.setdefault(vote.comment, []).append(vote.label)
    # each pair within a comment counts 1 / (votes of the comment - 1)
    observed = sum(sum(a != b for a, b in combinations(got, 2)) * 2 / (len(got) - 1) for got in by_comment.values())
    everything = [vote.label for vote in votes]
    n, ones = len(everything), sum(everything)
    expected = 2 * ones * (n - ones) / (n - 1)
    assert krippendorff_alpha(votes) == pytest.approx(1 - observed / expected, abs=1e-12)
    shuffled = [votes[index] for index in np.random.default_rng(0).permutation(n)]
    assert krippendorff_alpha(shuffled) == pytest.approx(krippendorff_alpha(votes), abs=1e-12)
    assert krippendorff_alpha([*votes, Vote("alone", "a0", 1)]) == pytest.approx(krippendorff_alpha(votes), abs=1e-12)


@pytest.mark.parametrize("error", [0.02, 0.1, 0.3, 0.5])
def test_alpha_of_simulated_annotators_is_what_their_error_rate_gives(error):
    share = 1 / 3
    estimates = [krippendorff_alpha(simulate(1000, seed, [(error, error)] * 20, share)[0]) for seed in range(8)]
    toxic = share * (1 - error) + (1 - share) * error  # share of toxic votes
    expected = 1 - error * (1 - error) / (toxic * (1 - toxic))
    standard_error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - expected) < Z * standard_error < 0.05


# --- Cohen


def test_cohen_s_kappa_on_a_worked_example():
    """50 grant proposals, two readers: 20 times both yes, 5 and 10 times one of them, 15 times both no: .40."""
    counts = {(1, 1): 20, (1, 0): 5, (0, 1): 10, (0, 0): 15}
    pairs = [pair for pair, number in counts.items() for _ in range(number)]
    assert cohen_kappa(*zip(*pairs, strict=True)) == pytest.approx(0.4, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "words"),
    [(-0.1, "poor"), (0.0, "slight"), (0.2, "slight"), (0.3, "fair"), (0.4, "fair"), (0.5, "moderate"), (0.6, "moderate"),
     (0.68, "substantial"), (0.8, "substantial"), (0.81, "almost perfect"), (1.0, "almost perfect")],
)  # fmt: skip
def test_the_words_of_landis_and_koch(value, words):
    assert verbal(value) == words


# --- Dawid and Skene


def test_error_rates_and_shares_of_simulated_annotators_are_recovered_within_sampling_error():
    votes, truth = simulate(3000, seed=0)
    found = dawid_skene(votes)
    true_label = dict(zip((f"comment {index}" for index in range(3000)), truth, strict=True))
    for number, rates in enumerate(ANNOTATORS):
        seen = [true_label[vote.comment] for vote in votes if vote.annotator == f"a{number}"]
        for label, rate in enumerate(rates):
            standard_error = np.sqrt(rate * (1 - rate) / seen.count(label))
            assert abs(found.error_rates[f"a{number}"][label, 1 - label] - rate) < Z * standard_error
    assert abs(found.prior[1] - truth.mean()) < Z * np.sqrt(truth.mean() * (1 - truth.mean()) / 3000)
    assert np.allclose(found.posterior.sum(axis=1), 1)
    for rates in found.error_rates.values():
        assert np.allclose(rates.sum(axis=1), 1)


def test_labels_are_as_good_as_with_known_error_rates_and_better_than_a_majority():
    votes, truth = simulate(3000, seed=1)
    evidence, ones, overlap = np.full(3000, np.log(0.5)), np.zeros(3000), np.zeros(3000)
    for vote in votes:
        comment, (alarm, miss) = int(vote.comment.split()[1]), ANNOTATORS[int(vote.annotator[1:])]
        evidence[comment] += np.log((1 - miss) / alarm if vote.label else miss / (1 - alarm))
        ones[comment] += vote.label
        overlap[comment] += 1
    found = dawid_skene(votes)
    order = [int(comment.split()[1]) for comment in found.comments]
    ours = (found.labels == truth[order]).mean()
    best, majority = ((evidence > 0) == truth).mean(), ((ones > overlap / 2) == truth).mean()
    assert ours > best - 0.005
    assert ours > majority + 0.01


def test_the_estimate_is_a_maximum_of_the_likelihood():
    votes, _ = simulate(200, seed=2, annotators=ANNOTATORS[:8])
    found = dawid_skene(votes, tolerance=1e-10)

    def log_likelihood(prior: np.ndarray, rates: dict) -> float:
        joint = {comment: prior.copy() for comment in found.comments}
        for vote in votes:
            joint[vote.comment] *= rates[vote.annotator][:, vote.label]
        return sum(np.log(chances.sum()) for chances in joint.values())

    top = log_likelihood(found.prior, found.error_rates)
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = {name: rates + rng.normal(0, 0.01, (2, 1)) * [1, -1] for name, rates in found.error_rates.items()}
        moved = {name: np.clip(rates, 1e-9, 1) for name, rates in moved.items()}
        moved = {name: rates / rates.sum(axis=1, keepdims=True) for name, rates in moved.items()}
        assert log_likelihood(found.prior, moved) < top


def test_unanimous_votes_are_kept_and_more_than_two_classes_are_fine():
    found = dawid_skene(table("1 2 3 3", "1 2 3 3", "1 2 3 1"))
    assert found.classes == [1, 2, 3]
    assert found.labels.tolist() == [1, 2, 3, 3]
    assert found.comments == ["unit 0", "unit 1", "unit 2", "unit 3"]
    with pytest.raises(ValueError, match="no vote"):
        dawid_skene([])


def test_an_estimate_that_has_not_settled_says_so(caplog):
    assert dawid_skene(simulate(100, seed=0)[0], most_iterations=2).iterations == 2
    assert "still moves by" in caplog.text


# --- what cannot be measured


def test_coefficients_that_are_not_defined_say_why():
    with pytest.raises(ValueError, match="No comment has two votes: 2 votes"):
        krippendorff_alpha([Vote("a", "x", 0), Vote("b", "y", 1)])
    with pytest.raises(ValueError, match="No comment has two votes: 0 votes"):
        krippendorff_alpha([])
    with pytest.raises(ValueError, match="All 4 votes that can be compared are 0"):
        krippendorff_alpha([*table("0 0", "0 0"), Vote("alone", "z", 1)])
    with pytest.raises(ValueError, match="2 and 1 labels"):
        cohen_kappa([0, 1], [1])
    with pytest.raises(ValueError, match="All 2 comments are 1 in both labellings"):
        cohen_kappa([1, 1], [1, 1])


GOOD = [("первый\n", "аня", "1"), ("первый", "боря", "1.0"), ("второй", "аня", "0.0"), ("второй", "вера", "1")]
BAD: dict[str, tuple[list, str]] = {
    "one annotator": ([(comment, "аня", label) for comment, label in (("a", "0"), ("b", "1"))], "all 2 votes are of аня"),
    "no vote": ([], "two annotators or more, and it holds no vote"),
    "no comment with two votes": ([("a", "аня", "0"), ("b", "боря", "1")], "none of the 2 comments has two votes"),
    "label 2": ([*GOOD, ("второй", "боря", "2")], r"line 7: the label must be 0 or 1, got '2'"),
    "label toxic": ([*GOOD, ("второй", "боря", "toxic")], r"line 7: the label must be 0 or 1, got 'toxic'"),
    "no label": ([*GOOD, ("второй", "боря", "")], r"line 7: .*, and label is missing or blank"),
    "blank comment": ([*GOOD, (" ", "боря", "0")], r"line 7: .*, and comment is missing or blank"),
    "short row": ([*GOOD, ("второй",)], r"line 7: .*, and annotator, label is missing or blank"),
    "a second vote": ([*GOOD, ("второй\n", "вера", "0")], r"line 7: annotator вера voted .* before, at votes\.csv, line 6"),
}  # fmt: skip


def write_votes(path, rows, header=("comment", "annotator", "label")):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.mark.parametrize("kind", BAD)
def test_bad_votes_are_refused_with_their_line(tmp_path, kind):
    rows, message = BAD[kind]
    with pytest.raises(ValueError, match=rf"votes\.csv.*{message}"):
        read_votes(write_votes(tmp_path / "votes.csv", rows))


def test_csv_and_json_lines_give_the_same_votes(tmp_path):
    votes = read_votes(write_votes(tmp_path / "votes.csv", GOOD))
    assert votes[0] == Vote("первый", "аня", 1) and [vote.label for vote in votes] == [1, 1, 0, 1]
    lines = [{"comment": c, "annotator": a, "label": int(float(label)), "seconds": 3} for c, a, label in GOOD]
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    assert read_votes(path) == votes
    path.write_text('{"comment": "a", "annotator": 7, "label": true}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"votes\.jsonl, line 1: the label must be 0 or 1, got 'True'"):
        read_votes(path)
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match=r"votes\.jsonl, line 1: a vote is a JSON object"):
        read_votes(path)
    with pytest.raises(ValueError, match=r"lacks the column annotator; its header has comment, label"):
        read_votes(write_votes(tmp_path / "b.csv", [], header=("comment", "label")))


# --- all of it


def test_the_aggregate_is_compared_with_published_labels():
    votes, truth = simulate(2000, seed=4)
    flipped = np.random.default_rng(5).random(2000) < 0.1
    published = {f"comment {index}": int(label) for index, label in enumerate(truth ^ flipped)} | {"another": 1}
    found = measure(votes, published)
    ours = np.array([row["label"] for row in found["comments"]])
    theirs = np.array([published[row["comment"]] for row in found["comments"]])
    agree, chance = (ours == theirs).mean(), sum((ours == k).mean() * (theirs == k).mean() for k in (0, 1))
    assert found["published"]["cohen_kappa"] == pytest.approx((agree - chance) / (1 - chance), abs=1e-12)
    assert found["published"]["compared"] == 2000
    assert np.sum(found["published"]["table"]) == 2000
    with pytest.raises(ValueError, match="None of the 2000 comments voted on is among the 1 published ones"):
        measure(votes, {"another": 1})


def test_the_command_writes_the_figures_and_says_them(tmp_path, capsys):
    votes, truth = simulate(300, seed=6)
    file = write_votes(tmp_path / "votes.csv", [(f"{vote.comment}\n", *vote[1:]) for vote in votes])
    labeled = tmp_path / "labeled.csv"
    write_votes(labeled, [(f"comment {i}", f"{label}.0") for i, label in enumerate(truth)], header=("comment", "toxic"))
    out = tmp_path / "figures" / "agreement.json"
    command = ["agreement", "--votes", str(file), "--published", str(labeled), "--out", str(out)]
    assert main(command) == 0
    said, found = capsys.readouterr().out, json.loads(out.read_text(encoding="utf-8"))
    assert f"300 comments, 20 annotators, {len(votes):,} votes (3 to 8 on a comment)." in said
    assert f"Krippendorff's alpha {found['krippendorff_alpha']:.3f}: {found['words']} agreement." in said
    kappa = found["published"]["cohen_kappa"]
    assert kappa > 0.6 and f"labels {kappa:.3f} over 300 comments: {verbal(kappa)} agreement." in said
    assert len(found["comments"]) == 300 and set(found["dawid_skene"]["annotators"]) == {f"a{n}" for n in range(20)}
    assert main(command[:3] + command[5:]) == 0
    assert json.loads(out.read_text(encoding="utf-8"))["published"] is None
    write_votes(file, [("a", "one", "0")])
    assert main(command) == 1
    assert "error: votes.csv: agreement needs two annotators" in capsys.readouterr().err


def test_the_published_comments_that_are_labelled_twice_agree_substantially(shared_data):
    path = shared_data / "toxic_ru" / "labeled.csv"
    if not path.is_file():
        pytest.skip("the published comments are absent")
    given: dict = {}
    for _, cells in csv_records(path, ("comment", "toxic")):
        given.setdefault(cells["comment"].strip(), []).append(int(float(cells["toxic"])))
    twice = [labels for labels in given.values() if len(labels) == 2]
    assert (len(twice), sum(a != b for a, b in twice)) == (257, 43)
    assert round(cohen_kappa(*zip(*twice, strict=True)), 2) == 0.65
