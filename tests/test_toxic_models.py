"""Another binary task on the same machinery: its baselines, its recipes, and the way from a CSV to a verdict."""

import csv
import inspect
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import pipeline

from mvh import calibrate, score, train
from mvh.baselines import bilstm, naive_bayes
from mvh.baselines import fit as fit_baseline
from mvh.dataset_builder.toxic import article_preprocess
from mvh.dataset_builder.toxic_folder import build_toxic
from mvh.experiments import toxic
from mvh.experiments.small_backbone import small_backbone
from mvh.metrics import auroc
from mvh.modeling_mvh import MvhHead
from mvh.recipe import parse_recipe

ROOT = Path(train.__file__).parent
NEUTRAL = "погода сегодня солнечная купил книгу читаю вечером интересный фильм спасибо совет друзья дача огурцы".split()
TOXIC = "дебил тупой заткнись идиот бред чушь мерзкий урод ненавижу позор клоун вонючий быдло скот".split()
SHARED = "и в на не что это как а но он мы вы они все так уже ещё там тут если".split()
SMALL = bilstm.Shape(dimensions=16, units=8, hidden=8)
QUICK = {"shape": SMALL, "vector_epochs": 5, "epochs": 8, "rate": 0.01}


def comments(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Nonsense comments whose words follow the label, one in three toxic."""
    rng = random.Random(seed)
    texts, labels = [], []
    for index in range(count):
        label = int(index % 3 == 0)
        words = [rng.choice((TOXIC if label else NEUTRAL) if rng.random() < 0.5 else SHARED) for _ in range(14)]
        texts.append(" ".join(words).capitalize() + "!\n")
        labels.append(label)
    return texts, labels


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Recurrent steps this small only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A CSV of the published shape with 900 comments."""
    path = tmp_path_factory.mktemp("csv") / "labeled.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("comment", "toxic"))
        writer.writerows((text, float(label)) for text, label in zip(*comments(900), strict=True))
    return path


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("backbone") / "bert"
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return small_backbone(comments(300)[0], folder, 0, 300, **sizes)


@pytest.fixture(scope="module")
def dataset(published, backbone, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dataset") / "toxic"
    return build_toxic(published, str(backbone), out, core_tokens=126, context_tokens=0, progress=False)


# --- naive Bayes


def test_naive_bayes_margin_is_the_log_odds_of_the_textbook():
    """Two documents of one word each: log (P(word | 1) / P(word | 0)) with add-one smoothing is log 2 or -log 2."""
    model = naive_bayes.fit(["да"] * 5 + ["нет"] * 5, [0] * 5 + [1] * 5, smoothings=(5.0,))
    assert model.margins(["нет", "да", "иное"]) == pytest.approx([np.log(2), -np.log(2), 0.0])


def test_naive_bayes_prior_follows_the_labels():
    model = naive_bayes.fit(["слово"] * 20, [0] * 15 + [1] * 5)
    assert model.margins(["иное"]) == pytest.approx([np.log(5 / 15)])


def test_naive_bayes_learns_and_takes_the_best_smoothing():
    model = naive_bayes.fit(*comments(240))
    texts, labels = comments(90, seed=1)
    assert auroc(labels, model.margins(texts)) > 0.99
    found = model.about["cross_validated_f1_macro"]
    assert found[str(model.about["smoothing"])] == max(found.values()) and len(found) == len(naive_bayes.SMOOTHINGS)
    loud = [text.upper() + "..." for text in texts]
    assert model.margins(loud) == pytest.approx(model.margins(texts))


# --- BiLSTM


@pytest.fixture(scope="module")
def lstm() -> bilstm.BiLstm:
    return bilstm.fit(*comments(240), **QUICK)


def test_bilstm_learns_and_a_margin_does_not_depend_on_the_other_texts(lstm):
    texts, labels = comments(60, seed=1)
    assert auroc(labels, lstm.margins(texts)) > 0.95
    texts[3] = "дебил"
    alone = [float(lstm.margins([text])[0]) for text in texts[:8]]
    assert lstm.margins(texts)[:8] == pytest.approx(alone, abs=1e-5)


def test_bilstm_is_repeatable_and_its_vectors_stand_still_unless_unfrozen(lstm):
    texts, labels = comments(240)
    words, vectors = bilstm.word_vectors([article_preprocess(text).split() for text in texts], 16, 3, 5, 0)
    assert lstm.words == words
    assert torch.equal(lstm.vectors.weight[1:], torch.from_numpy(vectors)) and not lstm.vectors.weight[0].any()
    again = bilstm.fit(texts, labels, **QUICK)
    assert all(torch.equal(a, b) for a, b in zip(lstm.state_dict().values(), again.state_dict().values(), strict=True))
    thawed = bilstm.fit(texts, labels, **QUICK | {"epochs": 2, "unfreeze_epoch": 2})
    assert not torch.equal(thawed.vectors.weight, lstm.vectors.weight)


def test_bilstm_says_how_many_texts_it_cuts(caplog):
    texts, labels = comments(60)
    shape = bilstm.Shape(dimensions=16, units=8, hidden=8, longest=13)
    model = bilstm.fit(texts, labels, **QUICK | {"shape": shape, "epochs": 1})
    assert model.about["cut"] == 60 and "60 of 60 texts have more than 13 words" in caplog.text


def test_bilstm_is_the_article_s():
    model = bilstm.BiLstm(["слово"], bilstm.Shape())
    assert (model.vectors.embedding_dim, model.lstm.num_layers, model.lstm.bidirectional) == (300, 2, True)
    assert model.shape.noise > 0 and model.shape.dropout > 0
    defaults = {name: parameter.default for name, parameter in inspect.signature(bilstm.fit).parameters.items()}
    assert (defaults["epochs"], defaults["rate"], defaults["unfreeze_epoch"]) == (10, 1e-3, None)


def test_noise_and_dropout_are_for_training_alone(lstm):
    rows, lengths = torch.ones(4, 5, dtype=torch.long), torch.full((4,), 5)
    lstm.train()
    assert len({round(value, 6) for value in lstm(rows, lengths).tolist()}) > 1
    lstm.eval()
    assert len({round(value, 6) for value in lstm(rows, lengths).tolist()}) == 1


# --- both, saved


@pytest.mark.parametrize("kind", [naive_bayes, bilstm])
def test_a_saved_baseline_comes_back_and_holds_no_pickle(kind, lstm, tmp_path):
    model = lstm if kind is bilstm else naive_bayes.fit(*comments(90), label_names=("neutral", "toxic"))
    folder = kind.save(model, tmp_path / "saved")
    assert sorted(path.name for path in folder.iterdir()) == ["detector.json", "detector.safetensors"]
    loaded, texts = kind.load(folder), comments(20, seed=2)[0]
    assert loaded.margins(texts).tolist() == model.margins(texts).tolist()
    assert (loaded.labels, loaded.about) == (model.labels, model.about)
    other = bilstm if kind is naive_bayes else naive_bayes
    with pytest.raises(ValueError, match=f"kind '{kind.KIND}', not '{other.KIND}'"):
        other.load(folder)
    (folder / "detector.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no detector.safetensors"):
        kind.load(folder)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "note.txt").write_text("mine")
    with pytest.raises(ValueError, match="no saved baseline"):
        kind.save(model, tmp_path / "foreign")


@pytest.mark.parametrize("fit", [naive_bayes.fit, bilstm.fit])
@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["а", " \n", "б"], [0, 1, 1], "1 of 3 training texts are blank, the first is number 2"),
        (["а", "б"], [0], "2 texts and 1 labels"),
        (["а"] * 9, [0] * 9, "got 9 of class 0 and 0 of 1"),
        (["а", "б"], [0, 2], r"Labels must be 0 or 1, got \[0, 2\]"),
    ],
)
def test_bad_training_texts_are_a_sentence(fit, texts, labels, message):
    with pytest.raises(ValueError, match=message):
        fit(texts, labels)


def test_a_corpus_too_small_or_of_another_language_is_a_sentence():
    texts, labels = comments(30)
    with pytest.raises(ValueError, match="corpus of 2 texts is too small: of its 4 different words 0 occur 3 times"):
        bilstm.fit(texts, labels, corpus=["одно слово", "другие слова"], **QUICK)
    english = [" ".join(f"word{n}" for n in range(40))] * 5
    with pytest.raises(ValueError, match="vectors for 0% of the words"):
        bilstm.fit(texts, labels, corpus=english, **QUICK)


@pytest.mark.parametrize("kind", ["naive_bayes", "bilstm"])
def test_from_a_dataset_to_figures_by_the_commands(kind, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(bilstm, "Shape", lambda **_: SMALL)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(text.strip() + "\n" for text in comments(200, seed=3)[0]), encoding="utf-8")
    more = ["--corpus", str(corpus), "--epochs", "3"] if kind == "bilstm" else []
    folder = fit_baseline.main([kind, "--dataset", str(dataset), "--out", str(tmp_path / "saved"), *more])
    report = score.main(
        [str(folder), "--kind", kind, "--data", str(dataset), "--out", str(tmp_path / "scored"), "--batch-size", "7"]
    )
    overall = report["files"][dataset.name]["overall"]
    assert report["detector"]["labels"] == ["neutral", "toxic"]
    assert overall["auroc"] > 0.9 and overall["human"] + overall["machine"] == 180
    lines = [json.loads(line) for line in (tmp_path / "scored" / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert all((line["decision"] == "machine") == (line["margin"] >= 0) for line in lines)
    assert "| neutral | toxic |" in (tmp_path / "scored" / "metrics.md").read_text("utf-8")
    with pytest.raises(ValueError, match="no option 'alpha'"):
        score.main([str(folder), "--kind", kind, "--data", str(dataset), "--out", str(tmp_path), "--alpha", "0.1"])


def test_a_blank_text_is_an_error_of_its_own_row(tmp_path):
    folder = naive_bayes.save(naive_bayes.fit(*comments(60)), tmp_path / "saved")
    scorer, _ = score.DETECTORS["naive_bayes"](str(folder), {})
    first, second = scorer(iter(["Дебил!", " "]))
    assert first["decision"] == "machine" and first["error"] is None
    assert second["decision"] == "uncertain" and "blank" in second["error"]["message"]


def test_fit_baseline_wants_a_dataset_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no manifest.json"):
        fit_baseline.main(["naive_bayes", "--dataset", str(tmp_path), "--out", str(tmp_path / "out")])


# --- encoders


def test_from_a_csv_to_a_verdict_with_these_labels(dataset, backbone, tmp_path):
    options = ["--backbone", str(backbone), "--dataset", str(dataset), "--output_dir", str(tmp_path / "run")]
    options += ["--num_train_epochs", "4", "--learning_rate", "0.005", "--disable_tqdm", "True"]
    model = train.main([str(ROOT / "recipes" / "toxic_scratch.yaml"), *options])
    calibrate.main(["--model", str(model), "--dataset", str(dataset), "--out", str(tmp_path / "detector")])
    detect = pipeline("mvh-detect", model=str(tmp_path / "detector"), trust_remote_code=True)
    assert detect.model.config.id2label == {0: "neutral", 1: "toxic"}
    assert not detect.model.head.hidden, "the recipe asks for one linear layer"
    texts, labels = comments(30, seed=5)
    results = detect(texts)
    toxic_ones = [result for result, label in zip(results, labels, strict=True) if label]
    assert all(result["label"] == "toxic" and result["p_value"] <= 0.05 for result in toxic_ones)
    assert {segment["label"] for result in results for segment in result["segments"]} == {"neutral", "toxic"}
    assert sum(result["label"] == "toxic" for result in results) <= len(toxic_ones) + 5
    card = (tmp_path / "detector" / "README.md").read_text("utf-8")
    assert "Is this text neutral or toxic" in card and "neutral documents of labeled.csv" in card
    assert "human" not in card and "machine" not in card.replace("machine-", "")
    with pytest.raises(
        ValueError, match=r"built with labels \['neutral', 'toxic'\], the recipe wants \['human', 'machine'\]"
    ):
        train.main([str(ROOT / "recipes" / "toxic_scratch.yaml"), *options, "--labels", "human", "machine",
                    "--output_dir", str(tmp_path / "other")])  # fmt: skip


@pytest.mark.parametrize("widths", [[], [7], [7, 5], [7, 5, 3]])
def test_a_head_has_the_layers_the_recipe_says(widths):
    head = MvhHead(11, widths, 2, 0.1)
    assert [layer.out_features for layer in head.children() if isinstance(layer, torch.nn.Linear)][-1] == 2
    assert len(head.hidden) == len(widths)
    assert head(torch.zeros(3, 11)).shape == (3, 2)


def test_recipes_are_the_article_s():
    for name, tokens, epochs, rate in (("mbert", 128, 3, 5e-5), ("rubert", 128, 3, 5e-5), ("muse", 100, 100, 3e-4)):
        fields = yaml.safe_load((ROOT / "recipes" / f"toxic_{name}.yaml").read_text("utf-8"))
        assert fields["core_tokens"] + fields["context_tokens"] + 2 == tokens
        assert (fields["num_train_epochs"], fields["learning_rate"]) == (epochs, rate)
        assert (fields["per_device_train_batch_size"], fields["labels"]) == (32, ["neutral", "toxic"])
        assert fields.get("warmup_steps") == (None if name == "muse" else 0.1)
    model_args, _, args = parse_recipe([str(ROOT / "recipes" / "toxic_rubert.yaml"), "--dataset", "x"])
    assert model_args.head_widths == [] and args.get_warmup_steps(1000) == 100
    assert "distillation" in (ROOT / "recipes" / "toxic_muse.yaml").read_text("utf-8")


# --- the experiment


def test_macro_figures_are_those_of_both_classes():
    figures = toxic.macro([0, 0, 0, 1], [-1.0, -1.0, 1.0, 1.0])
    assert figures["precision"] == pytest.approx(100 * (1 + 1 / 2) / 2)
    assert figures["recall"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert figures["f1"] == pytest.approx(100 * (0.8 + 2 / 3) / 2)


def test_the_experiment_writes_a_page_and_goes_on_where_it_was(published, tmp_path, monkeypatch):
    call = ["--csv", str(published), "--out", str(tmp_path / "toxic.json"), "--work", str(tmp_path / "work"), "--quick"]
    first = toxic.main([*call, "--run", "naive_bayes"])
    assert first["models"]["naive_bayes"]["measured"]["f1"]["mean"] > 90 and not first["models"]["bilstm"]["runs"]
    monkeypatch.setattr(naive_bayes, "fit", None)  # what is finished is not fitted again
    second = toxic.main([*call, "--run", "bilstm", "naive_bayes"])
    assert second["models"]["naive_bayes"] == first["models"]["naive_bayes"]
    assert second["models"]["bilstm"]["runs"][0]["train_documents"] == 720
    page = (tmp_path / "toxic.md").read_text("utf-8")
    assert "87.01 / 81.22 / 83.21" in page and page.count("not run here") == 5 and "not available" in page
    assert "--run rubert" in page and str(published.parent) not in page.split("\n", 3)[2]
    assert json.loads((tmp_path / "toxic.json").read_text("utf-8"))["csv"]["rows"] == 900


def test_the_experiment_refuses_a_file_of_other_columns(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("text,label\nпривет,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="bad.csv lacks the column comment"):
        toxic.main(["--csv", str(bad), "--out", str(tmp_path / "x.json"), "--work", str(tmp_path / "work")])
