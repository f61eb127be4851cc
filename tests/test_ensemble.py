"""Ensembles: members of any backbone, tokenizer and segmentation are one detector, in one folder, with valid p-values."""

import json
import re
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoModelForTextEncoding,
    PreTrainedTokenizerFast,
    pipeline,
)

import mvh
from mvh import calibrate, ensemble, score, train
from mvh.calibration_mvh import decode_calibration
from mvh.ensemble_mvh import COMBINATIONS, MvhEnsembleConfig
from mvh.hub import upload_folder
from mvh.merging_mvh import MERGERS
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.readings_mvh import Reading, human_scale, margins_on, mean_document, nearest
from mvh.references_mvh import Document
from mvh.seen import read_seen
from mvh.tests.hub_server import LocalHub

from .conftest import SENTENCES, make_rows, make_text, write_jsonl
from .test_pipeline import KEYS, MIXED, TEXTS
from .test_travel import run

HUMAN = [row["text"] for row in make_rows(200, seed=7) if row["label"] == 0]


@pytest.fixture(scope="session")
def other_backbone(tmp_path_factory) -> Path:
    """A random BERT of width 16 that reads letter by letter, with <s> and </s>: another shape, another vocabulary."""
    folder = tmp_path_factory.mktemp("other") / "tiny-letters"
    letters = ["<pad>", "<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz.,▁"]
    raw = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, [], unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **names)
    torch.manual_seed(1)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = AutoConfig.for_model("bert", vocab_size=len(tokenizer), pad_token_id=0, **size)
    AutoModelForTextEncoding.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def other(tmp_path_factory, other_backbone) -> Path:
    """A detector on that backbone, stored in float16, with segments of 150 letters and features, calibrated."""
    folder = tmp_path_factory.mktemp("letters")
    train.main(
        [
            "--backbone", str(other_backbone), "--name", "letters", "--pooling", "mean", "--head_widths", "8",
            "--core_tokens", "150", "--context_tokens", "10", "--feature_names", "punctuation", "--use_cpu", "True",
            "--disable_tqdm", "True", "--store_dtype", "float16",
            "--train_file", str(write_jsonl(folder / "train.jsonl", make_rows(120))),
            "--output_dir", str(folder / "run"), "--learning_rate", "0.005", "--num_train_epochs", "2",
            "--per_device_train_batch_size", "16", "--save_strategy", "no",
        ]
    )  # fmt: skip
    return calibrate.calibrate(folder / "run" / "model", HUMAN[:50], HUMAN[50:], folder / "letters", "toy human texts")


@cache
def load(folder):
    """The pipeline of a folder that does not change any more."""
    return pipeline("mvh-detect", model=str(folder), trust_remote_code=True)


@pytest.fixture(scope="session")
def merged(detector, other, tmp_path_factory) -> Path:
    """p-values merged: needs no calibration of its own."""
    return ensemble.make_ensemble([detector, other], tmp_path_factory.mktemp("ensembles") / "merged", "mean_p")


@pytest.fixture(scope="session")
def averaged(detector, other, tmp_path_factory) -> Path:
    """Scores averaged, and calibrated as a whole."""
    folder = tmp_path_factory.mktemp("ensembles")
    plain = ensemble.make_ensemble([detector, other], folder / "plain")
    return calibrate.calibrate(plain, HUMAN[:50], HUMAN[50:], folder / "averaged", "toy human texts")


# --- one detector to whoever uses it ---


@pytest.mark.parametrize("which", ["merged", "averaged"])
def test_an_ensemble_is_a_detector(which, request, detector):
    detect = load(request.getfixturevalue(which))
    result = detect(MIXED)
    assert set(result) == KEYS and json.loads(json.dumps(result)) == result
    assert (result["vote"], result["p_values"]) == ("calibrated", "conformal")
    assert not [warning for warning in result["warnings"] if "calibrate again" in warning]
    assert result["model"]["calibration"] == detect.calibration_id
    spans = [(segment["start"], segment["end"]) for segment in result["segments"]]
    assert spans == [(s["start"], s["end"]) for s in load(detector)(MIXED)["segments"]], "the first member's segments"
    assert [member["name"] for member in result["members"]] == ["toy", "letters"]
    results = detect([make_text(label, 60, seed=500 + i) for i in range(20) for label in (0, 1)])
    labels = [result["label"] for result in results]
    assert labels[1::2].count("machine") >= 15 and labels[::2].count("machine") <= 4


def test_what_each_member_said_is_what_it_says_alone(merged, averaged, detector, other):
    alone = [load(folder)(MIXED) for folder in (detector, other)]
    for folder in (merged, averaged):
        for said, own in zip(load(folder)(MIXED)["members"], alone, strict=True):
            assert said["margin"] == pytest.approx(own["margin"], abs=1e-4)
            assert (said["p_value"], said["segments"]) == (own["p_value"], len(own["segments"]))


def test_only_the_member_that_counts_characters_is_given_them(detector, detector_of_characters, tmp_path):
    both = ensemble.make_ensemble([detector, detector_of_characters], tmp_path / "both", "mean_p")
    texts = [make_text(label, words, seed=words) for label in (0, 1) for words in (5, 90)]
    together = list(load(both).readings(texts))
    for member, folder in enumerate((detector, detector_of_characters)):
        for readings, (alone,) in zip(together, load(folder).readings(texts), strict=True):
            assert np.allclose(readings[member].document.margins, alone.document.margins, atol=1e-4)


def test_merged_p_values_are_those_of_the_members(merged, detector, other):
    both = [load(folder)(MIXED)["p_value"] for folder in (detector, other)]
    result = load(merged)(MIXED)
    assert result["p_value"] == pytest.approx(min(1, sum(both)))  # twice the mean of two
    low, high = result["calibration"]["false_alarm_rate_90"]
    assert low == 0.0 and 0.05 < high < 0.3


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_an_ensemble_of_one_is_its_member(combine, detector, tmp_path):
    out = ensemble.make_ensemble([detector], tmp_path / "one", combine)
    if combine not in MERGERS:
        out = calibrate.calibrate(out, HUMAN[:50], HUMAN[50:], tmp_path / "calibrated", "toy human texts")
    alone, one = load(detector)(TEXTS + [MIXED]), load(out)(TEXTS + [MIXED])
    for mine, whole in zip(alone, one, strict=True):
        differing = {key for key in mine if mine[key] != whole[key]}
        assert differing <= {"members", "model"}


def test_the_merged_p_value_is_the_documents_not_its_neighbours(merged, averaged):
    for folder in (merged, averaged):
        detect = load(folder)
        together, alone = detect(TEXTS, batch_size=3), [detect(text) for text in TEXTS]
        for a, b in zip(together, alone, strict=True):
            assert a["label"] == b["label"] and a["margin"] == pytest.approx(b["margin"], abs=1e-4)


@pytest.mark.parametrize("sentence", [*SENTENCES, "\ud800 lone \x00 NUL \u200b zero"])
def test_spans_tile_the_original(averaged, sentence):
    text = "\n\t " + " ".join([sentence] * 30) + " \n"
    segments = load(averaged)(text)["segments"]
    assert segments[0]["start"] == 0 and segments[-1]["end"] == len(text)
    assert all(a["end"] == b["start"] for a, b in zip(segments, segments[1:], strict=False))


def test_bad_items_have_the_one_shape(merged):
    good, bad, blank = load(merged)([MIXED, None, "\u200b\u200b"])
    assert set(bad) == set(blank) == KEYS | {"error"} and set(good) == KEYS and bad["members"] is None


def test_what_merged_p_values_cannot_give_is_said(merged):
    detect = load(merged)
    for options in ({"confidence": 0.9}, {"correction": "calibrated"}):
        with pytest.raises(ValueError, match="combine='mean_score'"):
            detect(MIXED, **options)
    strict = detect(MIXED, alpha=0.01)
    assert strict["label"] == "uncertain" and "No document can be flagged" in " ".join(strict["warnings"])
    assert "toy: The text is in arabic script" in " ".join(detect(SENTENCES[2] * 9)["warnings"])


def test_score_cli_and_notebook_take_it(averaged, merged, tmp_path, capsys):
    from mvh.cli import detect

    data = write_jsonl(tmp_path / "test.jsonl", make_rows(30, seed=5))
    for folder in (averaged, merged):
        report = score.main([str(folder), "--data", str(data), "--out", str(tmp_path / folder.name)])
        assert report["files"]["test.jsonl"]["overall"]["auroc"] > 0.9
        assert report["detector"]["calibration"] == load(folder).calibration_id
        (tmp_path / "text.txt").write_text(MIXED)
        assert detect.main([str(tmp_path / "text.txt"), "--model", str(folder), "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        shown = mvh.load_detector(folder)(MIXED)
        assert printed["p_value"] == shown["p_value"] and "letters" in str(shown["members"])
        assert shown._repr_html_()


# --- one folder ---


def test_the_folder_holds_everything_and_no_more(averaged, detector, other):
    names = {str(path.relative_to(averaged)) for path in averaged.rglob("*") if path.is_file()}
    assert {"model.safetensors", "tokenizer.json", "tokenizers/1/tokenizer.json", "tokenizers/1/tokenizer_config.json",
            "ensemble_mvh.py", "pipeline_mvh.py", "README.md", "requirements.txt", "training_texts.npz"} <= names  # fmt: skip
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (detector, other, averaged)]
    assert sizes[2] < 1.2 * sum(sizes[:2]), "each member keeps the dtype it is stored in"
    with safe_open(averaged / "model.safetensors", framework="pt") as weights:
        kinds = {key.split(".")[1]: weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
    assert kinds == {"0": "F32", "1": "F16"}
    for use in ("training", "calibration"):
        assert set(read_seen(detector, use)) <= set(read_seen(averaged, use))
    card = (averaged / "README.md").read_text()
    assert "`toy` (bert), `letters` (bert)" in card and not re.search(r"\{\{|\{%|None|[Mm]ore information needed", card)
    for path in [averaged / "config.json", *averaged.rglob("tokenizer_config.json")]:
        assert str(detector.parent) not in path.read_text() and "name_or_path" not in path.read_text()


@pytest.mark.parametrize("which", ["merged", "averaged"])
def test_it_works_far_from_home_and_saved_again(which, request, tmp_path):
    shutil.copytree(request.getfixturevalue(which), tmp_path / "downloaded")
    (tmp_path / "elsewhere").mkdir()
    code = f"""
from transformers import pipeline
import json
detect = pipeline("mvh-detect", model={str(tmp_path / "downloaded")!r}, trust_remote_code=True)
try:
    import mvh.pipeline_mvh
    raise SystemExit("the project can be imported: the journey proves nothing")
except ImportError:
    pass
text = {MIXED!r}
detect.save_pretrained("saved")
again = pipeline("text-classification", model="saved", trust_remote_code=True)
assert again(text) == [detect(text)]
print(json.dumps(detect(text)))
"""
    there = json.loads(run(code, tmp_path / "elsewhere").splitlines()[-1])
    here = load(tmp_path / "downloaded")(MIXED)
    assert there["margin"] == pytest.approx(here["margin"], abs=1e-4)
    assert {**there, "segments": 0, "passages": 0, "members": 0, "margin": 0, "score": 0} == {
        **here, "segments": 0, "passages": 0, "members": 0, "margin": 0, "score": 0,
    }  # fmt: skip


def test_calibrating_again_replaces_every_calibration(merged, averaged, tmp_path):
    fresh = [make_text(0, 20 + i, seed=900 + i) for i in range(60)]
    for folder in (merged, averaged):
        out = calibrate.calibrate(folder, fresh[:30], fresh[30:], tmp_path / folder.name, "our essays")
        old, new = (json.loads((place / "config.json").read_text()) for place in (folder, out))
        parts = [(old, new)] if folder == averaged else []
        for before, after in [*parts, *zip(old["members"], new["members"], strict=True)]:
            assert after["calibration"]["about"]["population"] == "our essays"
            assert after["calibration"]["id"] != before["calibration"]["id"]
            assert decode_calibration(after["calibration"]).documents == 30
        assert (new["calibration"] is None) == (folder == merged)
        assert not [warning for warning in load(out)(MIXED)["warnings"] if "calibrate again" in warning]


def test_a_whole_t5_and_one_with_an_output_layer_of_its_own_are_members(detector, tokenizer, tmp_path):
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    folders = [detector]
    for name, tied in (("tied", True), ("untied", False)):
        torch.manual_seed(3)
        config = AutoConfig.for_model("t5", vocab_size=len(tokenizer), pad_token_id=0, **shape)
        source = AutoModelForSeq2SeqLM.from_config(config)
        if not tied:  # as T5 v1.1 and mT5 are published
            source.lm_head.weight = torch.nn.Parameter(torch.randn_like(source.lm_head.weight))
            source.all_tied_weights_keys.pop("lm_head.weight")
            source.config.tie_word_embeddings = False
        source.save_pretrained(tmp_path / f"t5-{name}")
        fields = {"head": "label_token", "label_token_ids": [5, 6], "core_tokens": 32, "context_tokens": 8}
        model = MvhForSequenceClassification.from_backbone(str(tmp_path / f"t5-{name}"), name=name, **fields)
        MvhDetectPipeline(model=model, tokenizer=tokenizer).save_pretrained(str(tmp_path / name))
        folders.append(tmp_path / name)
    detect = load(ensemble.make_ensemble(folders, tmp_path / "three", "mean_margin"))
    result = detect(MIXED)
    for folder, said in zip(folders, result["members"], strict=True):
        assert said["margin"] == pytest.approx(load(folder)(MIXED)["margin"], abs=1e-4)
    assert result["margin"] == pytest.approx(np.mean([said["margin"] for said in result["members"]]), abs=1e-3)
    untied = detect.model.members[2].encoder
    assert untied.lm_head.weight is not untied.shared.weight


# --- bad input ---


def relabelled(folder, out):
    shutil.copytree(folder, out)
    config = json.loads((out / "config.json").read_text())
    config |= {"name": "toxic", "id2label": {"0": "kind", "1": "toxic"}, "label2id": {"kind": 0, "toxic": 1}}
    (out / "config.json").write_text(json.dumps(config))
    return out


def test_members_that_disagree_on_labels_are_named(detector, tmp_path, caplog):
    strange = relabelled(detector, tmp_path / "toxic")
    assert ensemble.main([str(detector), str(strange), "--out", str(tmp_path / "out")]) == 1
    assert "'toy' has {0: 'human', 1: 'machine'} and 'toxic' has {0: 'kind', 1: 'toxic'}" in caplog.text
    assert not list(tmp_path.glob("out*"))


def damaged(folder, out, change):
    shutil.copytree(folder, out)
    change(out)
    return out


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: cut(f / "config.json"), "config.json is damaged"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "model of type 'bert'"),
        (lambda f: (f / "model.safetensors").unlink(), "weights"),
        (lambda f: cut(f / "model.safetensors"), "weights"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
        (lambda f: cut(f / "tokenizer.json"), "tokenizer"),
    ],
)
def test_a_missing_or_damaged_member_is_said(detector, tmp_path, change, message):
    broken = damaged(detector, tmp_path / "broken", change)
    with pytest.raises(ValueError, match=f"broken.*{message}|{message}.*broken"):
        ensemble.make_ensemble([detector, broken], tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f / "tokenizers"), "names 2 members, and the tokenizer of 'letters' cannot be read"),
        (lambda f: cut(f / "tokenizers" / "1" / "tokenizer.json"), "tokenizer of 'letters' cannot be read"),
    ],
)
def test_a_damaged_ensemble_is_refused(merged, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load(damaged(merged, tmp_path / "broken", change))


def cut_second(folder):
    cut(folder / "tokenizers" / "1" / "tokenizer.json")


def test_it_loads_from_the_hub_private_and_pinned_and_then_without_it(merged, tmp_path, monkeypatch):
    """The tokenizers in sub-folders come from the same commit, with the caller's token, and stay in the cache."""
    code = f"""
import json, sys
from transformers import pipeline
detect = pipeline("mvh-detect", model="me/both", trust_remote_code=True, revision="COMMIT")
print(json.dumps(detect({MIXED!r})))
"""
    with LocalHub() as hub:
        hub.connect(monkeypatch)
        sent = upload_folder(merged, "me/both", "An ensemble", private=True)
        upload_folder(damaged(merged, tmp_path / "later", cut_second), "me/both", "A broken one", private=True)
        code = code.replace("COMMIT", sent.commit)
        environment = {**hub.environment(tmp_path), "HF_HUB_OFFLINE": "0"}
        online = json.loads(run(code, tmp_path, **environment).splitlines()[-1])
    offline = json.loads(run(code, tmp_path, **environment | {"HF_HUB_OFFLINE": "1"}).splitlines()[-1])
    here = load(merged)(MIXED)
    assert online == offline and online["model"]["revision"] == sent.commit
    assert online["margin"] == pytest.approx(here["margin"], abs=1e-4) and online["p_value"] == here["p_value"]


def test_other_bad_wishes_are_refused_with_a_sentence(detector, merged, tmp_path):
    for members, message in (
        ([], "at least one"),
        ([detector, tmp_path / "absent"], "no checkpoint folder .*absent"),
        ([detector, merged], "itself an ensemble, of toy, letters"),
    ):
        with pytest.raises(ValueError, match=message):
            ensemble.make_ensemble(members, tmp_path / "out")
    with pytest.raises(ValueError, match="is a member of the ensemble"):
        ensemble.make_ensemble([detector], detector)
    with pytest.raises(ValueError, match="'median'"):
        ensemble.make_ensemble([detector], tmp_path / "out", "median")
    with pytest.raises(ValueError, match="2 members and the tokenizers of 1"):
        model, tokenizer = open_folder(merged)
        model.tokenizers = []
        MvhDetectPipeline(model=model, tokenizer=tokenizer)
    with pytest.raises(ValueError, match="1 members need as many scales"):
        MvhEnsembleConfig([json.loads((detector / "config.json").read_text())], scales=[[0, 1], [0, 1]])


def test_a_calibration_that_cannot_be_read_is_dropped_and_said(detector, tmp_path, caplog):
    old = damaged(detector, tmp_path / "old", lambda f: None)
    config = json.loads((old / "config.json").read_text())
    config["calibration"]["version"] = 1
    (old / "config.json").write_text(json.dumps(config))
    detect = load(ensemble.make_ensemble([detector, old], tmp_path / "out", "mean_p"))
    assert "The calibration of toy#2 is dropped unread. The calibration is of version 1" in caplog.text
    assert detect(MIXED)["p_value"] is None


def test_uncalibrated_members_make_an_uncalibrated_ensemble(detector, tmp_path):
    bare = detector.parent / "run" / "model"
    for combine in ("mean_p", "mean_score"):
        detect = load(ensemble.make_ensemble([bare, detector], tmp_path / combine, combine))
        result = detect(MIXED)
        assert result["vote"] == "majority" and result["p_value"] is None and result["calibration"] is None
        assert [member["name"] for member in result["members"]] == ["toy", "toy#2"]
        assert any("carries no calibration" in warning for warning in result["warnings"])


# --- the statistics ---


@pytest.mark.parametrize("name", sorted(MERGERS))
@pytest.mark.parametrize("dependence", ["same", "correlated", "independent", "opposite"])
def test_merged_p_values_are_valid_under_dependence(name, dependence):
    rng = np.random.default_rng(0)
    n, members = 40_000, 2 if dependence == "opposite" else 4
    first = rng.uniform(size=n)
    if dependence == "same":
        values = np.tile(first, (members, 1))
    elif dependence == "opposite":
        values = np.stack([first, 1 - first])
    else:
        from scipy.special import ndtr

        shared = np.sqrt(0.7 if dependence == "correlated" else 0.0)
        values = ndtr(shared * rng.normal(size=n) + np.sqrt(1 - shared**2) * rng.normal(size=(members, n)))
    merged_values = MERGERS[name](np.clip(values, 1e-12, 1))
    for alpha in (0.01, 0.05, 0.2):
        allowed = alpha * (1.1 if name == "cauchy_p" else 1) + 4 * np.sqrt(alpha * (1 - alpha) / n)
        assert (merged_values <= alpha).mean() <= allowed


def test_the_factors_are_those_of_the_theorems():
    """Vovk and Wang (2020) for five p-values: 2, e, e ln 5, 5; the largest needs none, and Cauchy's claims none."""
    wanted = {"mean_p": 2, "geometric_mean_p": np.e, "harmonic_mean_p": np.e * np.log(5), "bonferroni_p": 5, "max_p": 1}
    wanted["cauchy_p"] = 1
    assert {name: merger.factor(5) for name, merger in MERGERS.items()} == pytest.approx(wanted)


def test_the_factor_is_needed():
    """Values whose mean never varies: the mean itself is no p-value, and twice the mean is one exactly."""
    rng = np.random.default_rng(1)
    u = rng.uniform(size=100_000)
    alpha = 0.1
    # mass alpha on [0, alpha] is arranged so that the mean is alpha / 2 exactly where the first is small
    values = np.stack([u, np.where(u < alpha, alpha - u, u)])
    assert (values.mean(axis=0) <= alpha / 2 + 1e-12).mean() > 0.09
    assert (MERGERS["mean_p"](np.clip(values, 1e-12, 1)) <= alpha).mean() == pytest.approx(alpha, abs=0.005)


def test_mergers_at_known_values():
    values = np.array([[0.01, 1.0, 0.5], [0.04, 1.0, 0.5]])
    expected = {
        "mean_p": [0.05, 1, 1],
        "geometric_mean_p": [0.04, 1, 1],
        "harmonic_mean_p": [0.032, 1, 1],
        "bonferroni_p": [0.02, 1, 1],
        "max_p": [0.04, 1, 0.5],
    }
    for name, result in expected.items():
        assert MERGERS[name](values) == pytest.approx(result)
    assert MERGERS["cauchy_p"](np.array([[0.3], [0.3], [0.3]])) == pytest.approx([0.3])
    assert MERGERS["cauchy_p"](np.array([[1e-12], [1e-12]])) == pytest.approx([1e-12])
    for name, merger in MERGERS.items():
        assert (merger(values[:1]) == values[0]).all(), f"{name} of one p-value is that p-value"
        assert merger(np.full((5, 1), 1e-6)) == pytest.approx([merger.factor(5) * 1e-6])
        for bad in ([[0.0]], [[1.5]], [[np.nan]], np.empty((0, 3)), [0.5]):
            with pytest.raises(ValueError, match="p-values to merge"):
                merger(np.array(bad))


def reading(margins, spans):
    margins = np.array(margins, dtype=float)
    return Reading(Document(margins, np.ones(len(margins), dtype=int), "latin"), np.array(spans))


def test_margins_move_to_another_grid_by_shared_characters():
    first = reading([0.0, 0.0, 0.0], [(0, 10), (10, 20), (20, 25)])
    second = reading([1.0, 5.0], [(0, 15), (15, 25)])
    assert margins_on(first.spans, second).tolist() == [1.0, 3.0, 5.0]
    assert nearest(first.spans, second).tolist() == [0, 0, 1]
    assert margins_on(second.spans, second) is second.document.margins
    assert mean_document([first, second]).margins.tolist() == [0.5, 1.5, 2.5]
    scaled = mean_document([first, second], [[10.0, 2.0], [1.0, 4.0]]).margins
    assert scaled.tolist() == [5.0, 5.5, 6.0], "the second one's human mean, 1, is put at 10, its spread of 4 made 2"
    blind = replace(second, document=replace(second.document, unread=0.9))
    assert mean_document([first, blind]).unread == mean_document([blind, first]).unread == 0.9, (
        "one member cannot read it"
    )
    empty = np.array([(0, 10), (10, 10), (10, 25)])
    assert margins_on(empty, second).tolist() == pytest.approx([1.0, 1.0, (5 * 1 + 10 * 5) / 15])
    assert nearest(empty, second).tolist() == [0, 0, 1]


def test_moving_margins_agrees_with_counting_characters():
    rng = np.random.default_rng(2)
    for _ in range(20):
        cuts = [np.unique([0, 300, *rng.integers(1, 300, size)]) for size in (5, 9)]
        grid, own = (np.stack([cut[:-1], cut[1:]], axis=1) for cut in cuts)
        member = reading(rng.normal(size=len(own)), own)
        letters = np.repeat(member.document.margins, own[:, 1] - own[:, 0])  # (300,)
        assert margins_on(grid, member) == pytest.approx([letters[a:b].mean() for a, b in grid])
        owner = np.repeat(np.arange(len(own)), own[:, 1] - own[:, 0])
        counted = [np.bincount(owner[a:b], minlength=len(own)) for a, b in grid]
        assert [count[k] for count, k in zip(counted, nearest(grid, member), strict=True)] == [c.max() for c in counted]


def test_a_scale_needs_a_spread():
    assert human_scale(np.array([0.0, 2.0, 9.0]), np.array([1.0, 1.0, 0.0])) == [1.0, 1.0]
    with pytest.raises(ValueError, match="All 3 human margins equal 2.0"):
        human_scale(np.full(3, 2.0), np.ones(3))


def test_false_alarms_of_both_kinds_stay_near_alpha(merged, averaged):
    fresh = [row["text"] for row in make_rows(300, seed=77) if row["label"] == 0]
    for folder in (merged, averaged):
        p_values = np.array([result["p_value"] for result in load(folder)(fresh)])
        for alpha in (0.1, 0.3):  # 50 calibration documents: wide limits
            assert (p_values <= alpha).mean() <= alpha + 0.15


# --- the page ---


def test_the_commands_of_the_page_run(detector, other, tmp_path, monkeypatch, capsys):
    page = (Path(mvh.__file__).parent / "docs" / "ensembles.md").read_text()
    commands = [line.strip() for line in page.splitlines() if line.strip().startswith("python -m mvh.")]
    assert len(commands) >= 3
    monkeypatch.chdir(tmp_path)
    shutil.copytree(detector, tmp_path / "first")
    shutil.copytree(other, tmp_path / "second")
    write_jsonl(tmp_path / "human.jsonl", [{"text": text} for text in HUMAN])
    write_jsonl(tmp_path / "test.jsonl", make_rows(20, seed=5))
    mains = {"mvh.ensemble": ensemble.main, "mvh.calibrate": calibrate.main, "mvh.score": score.main}
    for command in commands:
        _, _, module, *words = command.split()
        assert mains[module](words) in (0, None) or module == "mvh.score"
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(code, {})
    assert "letters" in capsys.readouterr().out
