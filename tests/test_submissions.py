"""Other people's classifiers as detectors, and predictions as shared tasks take them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from mvh import score
from mvh.hub_classifier import margins_of, open_hub, positive_index
from mvh.submissions import raid_list, read_unlabelled, semeval_lines
from mvh.tests.conftest import TINY, make_rows, make_text, write_jsonl

PREDICTED = [
    {"id": "12", "decision": "machine", "margin": 0.3, "score": 0.574442516811659},
    {"id": "012", "decision": "human", "margin": 1.0, "score": 0.731},
    {"id": "x", "decision": "uncertain", "margin": 2.0, "score": 0.88},
    {"id": "y", "decision": "uncertain", "margin": -2.0, "score": 0.12},
    {"id": "bad", "decision": "uncertain", "margin": None, "score": None},
]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A random BERT classifier of three labels that reads 32 tokens."""
    folder = tmp_path_factory.mktemp("hub") / "classifier"
    torch.manual_seed(0)
    names = {0: "Machine", 1: "Mixed", 2: "Human"}
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "max_position_embeddings": 32}
    config = AutoConfig.for_model("bert", **TINY, **sizes, id2label=names, label2id={v: k for k, v in names.items()})
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_margins_are_log_odds() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    chances = logits.softmax(dim=1)[:, 1]
    assert torch.allclose(margins_of(logits, 1), torch.log(chances / (1 - chances)))
    assert margins_of(torch.tensor([[0.7]]), 0).tolist() == pytest.approx([0.7])


def test_the_label_is_never_guessed() -> None:
    names = {0: "Human", 1: "AI"}
    assert positive_index("ai", names) == 1
    with pytest.raises(ValueError, match="Which label means machine.*'Human', 'AI'"):
        positive_index(None, names)
    with pytest.raises(ValueError, match="'fake' names 0 of the model's labels"):
        positive_index("fake", names)
    with pytest.raises(ValueError, match="names 2 of"):
        positive_index("x", {0: "X", 1: "x"})


def test_long_texts_are_read_whole_and_batches_change_nothing(classifier: Path) -> None:
    scorer, about = open_hub(str(classifier), {"positive_label": "Machine"})
    texts = [make_text(0, 12, 0), " ", make_text(1, 200, 1), make_text(0, 90, 2)]
    together = list(scorer(iter(texts)))
    assert about["labels"] == ["Mixed/Human", "Machine"]
    assert [row["segments"] for row in together][0] == 1 and together[2]["segments"] > 5
    assert together[1]["error"] and together[1]["margin"] is None
    for text, row in zip(texts, together, strict=True):
        alone = next(scorer(iter([text])))
        assert alone["margin"] == pytest.approx(row["margin"], abs=1e-5) if row["margin"] is not None else True
    other, _ = open_hub(str(classifier), {"positive_label": "Machine", "batch_size": 1})
    assert [row["margin"] for row in other(iter(texts))] == pytest.approx([row["margin"] for row in together], abs=1e-5)
    ending, _ = make_text(1, 200, 1) + " rain" * 40, None
    assert next(scorer(iter([ending])))["margin"] != pytest.approx(together[2]["margin"], abs=1e-6)  # its end counts


def test_a_classifier_goes_through_score_and_fills_both_forms(classifier: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "dev.jsonl", make_rows(12))
    out = tmp_path / "out"
    report = score.main(
        [str(classifier), "--kind", "hub", "--positive-label", "machine", "--data", str(data), "--out", str(out)]
        + ["--submission", "semeval", "raid"]
    )
    assert report["files"]["dev.jsonl"]["overall"]["human"] == 6 and report["detector"]["name"] == "hub0/classifier"
    lines = [json.loads(line) for line in (out / "dev.semeval.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == list(range(12)) and {line["label"] for line in lines} <= {0, 1}
    scores = json.loads((out / "dev.raid.json").read_text())
    assert [entry.keys() for entry in scores] == [{"id", "score"}] * 12
    assert all(0 <= entry["score"] <= 1 for entry in scores)


def test_labels_and_scores_of_the_forms() -> None:
    lines = [json.loads(line) for line in semeval_lines(PREDICTED).splitlines()]
    assert lines == [
        {"id": 12, "label": 1}, {"id": "012", "label": 0}, {"id": "x", "label": 1}, {"id": "y", "label": 0},
        {"id": "bad", "label": 0},
    ]  # fmt: skip
    scores = json.loads(raid_list(PREDICTED))
    assert scores[0] == {"id": "12", "score": 0.574442516811659} and scores[-1]["score"] == 0.0


def test_unlabelled_files_get_predictions_and_no_figures(classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "adv_source_id", "generation"])
        writer.writerows(
            [[f"u-{n}", "", make_text(n % 2, 20, n) + "\nIt's here."] for n in range(4)] + [["blank", "", " "]]
        )
    data = write_jsonl(tmp_path / "dev.jsonl", make_rows(4))
    report = score.main(
        [
            str(classifier),
            "--kind",
            "hub",
            "--positive-label",
            "machine",
            "--data",
            str(data),
            "--unlabelled",
            str(path),
        ]
        + ["--submission", "raid", "--out", str(tmp_path / "out")]
    )
    assert list(report["files"]) == ["dev.jsonl"]
    scores = json.loads((tmp_path / "out" / "test.raid.json").read_text())
    assert [entry["id"] for entry in scores] == ["u-0", "u-1", "u-2", "u-3", "blank"] and scores[-1]["score"] == 0.0
    alone = score.main([str(classifier), "--kind", "hub", "--positive-label", "machine", "--unlabelled", str(path),
                        "--submission", "semeval", "--out", str(tmp_path / "alone")])  # fmt: skip
    assert alone["files"] == {} and len((tmp_path / "alone" / "test.semeval.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "text", "neither"),
        ("a.jsonl", '{"id": 1}\n', "a.jsonl, row 1: needs an id and a text or generation"),
        ("a.jsonl", '{"text": "x"}\n', "row 1"),
        ("a.jsonl", "[1]\n", "row 1"),
        ("a.jsonl", "{", "cannot be read"),
        ("a.csv", "id,words\n1,x\n", "row 1"),
        ("a.csv", "id,text\n1,one, two\n", "a.csv, row 1: has 3 cells and the header 2"),
        ("a.csv", "id,words\n1,one, two\n", "a.csv, row 1: has 3 cells and the header 2"),
    ],
)
def test_bad_unlabelled_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        list(read_unlabelled(tmp_path / name))


def test_bad_calls_say_what_is_wrong(classifier: Path, detector: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "dev.jsonl", make_rows(4))
    rest = ["--data", str(data), "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="Which label means machine"):
        score.main([str(classifier), "--kind", "hub", *rest])
    with pytest.raises(ValueError, match="no option 'alpha'"):
        score.main([str(classifier), "--kind", "hub", "--positive-label", "human", "--alpha", "0.1", *rest])
    with pytest.raises(ValueError, match="--positive-label is of --kind hub, and the kind is checkpoint"):
        score.main([str(detector), "--positive-label", "machine", *rest])
    with pytest.raises(ValueError, match="cannot be loaded as a text classifier"):
        score.main([str(tmp_path), "--kind", "hub", "--positive-label", "human", *rest])
    with pytest.raises(ValueError, match="nothing to score"):
        score.main([str(classifier), "--kind", "hub", "--positive-label", "human", "--out", str(tmp_path / "out")])
