"""`mvh push`: the complete folder, its proof in a fresh process, and the journey over a local Hub and back."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from tokenizers import Tokenizer

from mvh import compare, export, proof, push
from mvh.card import measured_rows, public_figures
from mvh.dataset_builder import push as dataset_push
from mvh.dataset_builder.build import build_dataset
from mvh.opening import open_folder
from mvh.tests.conftest import make_rows, write_jsonl
from mvh.tests.hub_server import LocalHub
from mvh.tests.test_travel import TRAVELLERS

ROOT = Path(push.__file__).parent
HOME = "/" + "home/ann"  # in two parts: no file of the repository names a path of a machine
TEXT = "Rain on the street. " * 30 + "Furthermore delve holistic tapestry. " * 30
FIGURES = {"auroc": 0.98765, "f1": 0.9, "recall": 0.91, "fpr": 0.05, "tpr_at_fpr": {"0.05": 0.9, "0.01": None}}


@pytest.fixture
def hub(monkeypatch):
    with LocalHub() as server:
        server.connect(monkeypatch)
        yield server


@pytest.fixture
def report(detector, tmp_path):
    """The metrics.json of a measurement of the toy detector."""
    calibration = json.loads((detector / "config.json").read_text())["calibration"]["id"]
    file = tmp_path / "metrics.json"
    content = {
        "detector": {"name": "toy", "calibration": calibration},
        "files": {"dev set.jsonl": {"overall": FIGURES}},
    }
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def built(tmp_path, tokenizer):
    """A small dataset folder."""
    rows = write_jsonl(tmp_path / "train.jsonl", make_rows(80))
    return build_dataset(rows, tokenizer, tmp_path / "built", core_tokens=32, context_tokens=8, progress=False)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def test_the_folder_is_complete_and_clean(detector, folder, report, tmp_path):
    checkpoint = tmp_path / "toy"
    shutil.copytree(detector, checkpoint)
    (checkpoint / "training_args.bin").write_bytes(b"pickle")
    (checkpoint / "checkpoint-10").mkdir()
    (checkpoint / "checkpoint-10" / "trainer_state.json").write_text(json.dumps({"best": f"{HOME}/run"}))
    (checkpoint / "tokenizers" / "1").mkdir(parents=True)  # as an ensemble has them
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(detector / name, checkpoint / "tokenizers" / "1" / name)
    used = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    used.enable_truncation(128)
    used.enable_padding(length=128)
    used.save(str(checkpoint / "tokenizer.json"))
    config = json.loads((checkpoint / "config.json").read_text())
    config["backbone_config"]["_name_or_path"] = f"{HOME}/backbone"
    (checkpoint / "config.json").write_text(json.dumps(config))

    left = push.assemble(checkpoint, folder, "me/toy", report)
    push.refuse_leaks(folder)
    saved = [Tokenizer.from_file(str(file)) for file in folder.rglob("tokenizer.json")]
    assert len(saved) == 2 and not any(tokenizer.truncation or tokenizer.padding for tokenizer in saved)
    assert sorted(left) == ["checkpoint-10", "training_args.bin"]
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert names >= {
        "model.safetensors", "tokenizer.json", "tokenizer_config.json", "handler.py", "LICENSE", "README.md",
        "requirements.txt", "figures.json", "training_texts.npz", "calibration_texts.npz", "pipeline_mvh.py",
        "modeling_mvh.py", "configuration_mvh.py", "voting_mvh.py", "tokenizers/1/tokenizer.json",
    }  # fmt: skip
    assert (folder / "LICENSE").read_text().lstrip().startswith("Apache License")
    config = json.loads((folder / "config.json").read_text())
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel", "AutoModelForSequenceClassification"}
    assert set(config["custom_pipelines"]) == {"mvh-detect", "text-classification"}
    assert "_name_or_path" not in config["backbone_config"]


def test_the_card_says_what_the_hub_reads(detector, folder, report):
    push.assemble(detector, folder, "me/toy", report)
    text = (folder / "README.md").read_text()
    data = ModelCard(text).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("transformers", "text-classification", "apache-2.0")
    assert "custom_code" in data.tags and data.model_name == "toy"
    measured = {result.metric_type: result.metric_value for result in data.eval_results}
    assert measured == {"roc_auc": 0.9877, "tpr_at_fpr_0.05": 0.9, "f1": 0.9, "recall": 0.91, "fpr": 0.05}
    assert {(result.dataset_name, result.dataset_type) for result in data.eval_results} == {("dev set", "dev_set")}
    (entry,) = yaml.safe_load(text.split("---")[1])["model-index"]
    assert entry["name"] == "toy" and entry["results"][0]["task"]["type"] == "text-classification"
    for said in ('model="me/toy"', "toy human texts", "| documents like | calibrated on |", "Apache-2.0", "handler.py"):
        assert said in text


def test_figures_of_verdicts_leave_with_their_calibration(detector, folder, report):
    content = json.loads(report.read_text())
    content["detector"]["calibration"] = "another"
    report.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match="does not say which weights were measured, and its calibration another is not"
    ):
        push.read_results(report, detector)
    content["detector"]["weights"] = open_folder(detector)[0].fingerprint()
    report.write_text(json.dumps(content))
    push.assemble(detector, folder, "me/toy", report)
    results = ModelCard((folder / "README.md").read_text()).data.eval_results
    assert {result.metric_type for result in results} == {"roc_auc", "tpr_at_fpr_0.05"}
    content["files"]["dev set.jsonl"]["used_before"] = {"training": 3, "calibration": 0}
    report.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="has used texts before, by use {'training': 3}"):
        push.read_results(report, detector)
    content["detector"]["weights"] = "of an earlier training"
    report.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="figures of the weights of an earlier training, and"):
        push.read_results(report, detector)
    content["detector"]["name"] = "other"
    report.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="figures of the detector 'other'"):
        push.read_results(report, detector)


def test_weights_under_terms_of_their_own_keep_them(detector, folder, tmp_path):
    checkpoint = tmp_path / "toy"
    shutil.copytree(detector, checkpoint)
    (checkpoint / "LICENSE").write_text("for research only")
    (checkpoint / "figures.json").write_text(json.dumps({"license": "cc-by-nc-4.0"}))
    push.assemble(checkpoint, folder, "me/toy")
    assert (folder / "LICENSE").read_text() == "for research only"


def test_undefined_figures_make_no_row():
    one_class = {"auroc": None, "f1": None, "recall": None, "fpr": 0.0, "tpr_at_fpr": {"0.05": None}}
    content = {"detector": {"name": "x", "calibration": None}, "files": {"human.jsonl": {"overall": one_class}}}
    assert [row["metric"] for row in measured_rows(content)] == ["fpr"]


def test_commands_in_the_card_name_no_folder_of_this_machine():
    command = (
        f"python -m mvh.score checkpoints/x --data ../shared/data/a.jsonl --data '{HOME}/b c/d.jsonl' --out runs/x"
    )
    (table,) = public_figures({"tables": [{"title": "t", "command": command}]})["tables"]
    assert table["command"].startswith("python -m mvh.score checkpoints/x --data a.jsonl --data ")
    assert "/home" not in table["command"] and table["command"].endswith("--out runs/x")
    assert public_figures({"tables": [{"command": "see https://host/a/b"}]})["tables"][0]["command"].endswith(
        "//host/a/b"
    )


def test_travelling_files_are_those_the_config_needs():
    config = {
        "auto_map": {"AutoConfig": "me/x--configuration_mvh.MvhConfig"},
        "custom_pipelines": {"mvh-detect": {"impl": "pipeline_mvh.MvhDetectPipeline"}},
    }
    needed = push.travelling_files(config)
    assert {"configuration_mvh.py", "pipeline_mvh.py", "wordlists_mvh.py", "voting_mvh.py"} <= set(needed)
    assert set(needed) <= {path.name for path in TRAVELLERS}
    config["auto_map"]["AutoModel"] = "elsewhere.Model"
    with pytest.raises(ValueError, match=r"needs the code file elsewhere\.py"):
        push.travelling_files(config)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "There is no folder"),
        ({}, r"no config\.json"),
        ({"config.json": "{"}, r"config\.json is damaged"),
        ({"config.json": "[]"}, "no detector of mvh"),
        ({"config.json": '{"model_type": "bert"}'}, "'bert' and no detector of mvh"),
        ({"config.json": '{"model_type": "mvh"}'}, "has no weights"),
        ({"config.json": '{"model_type": "mvh"}', "model.safetensors": ""}, "has no tokenizer"),
        ({"config.json": '{"model_type": "mvh"}', "model.safetensors": "", "tokenizer.json": ""}, "names no pipeline"),
    ],
)
def test_what_is_no_checkpoint_is_a_sentence(tmp_path, files, said):
    checkpoint = tmp_path / "ckpt"
    if files is not None:
        checkpoint.mkdir()
        for name, content in files.items():
            (checkpoint / name).write_text(content)
    with pytest.raises(ValueError, match=said):
        push.main([str(checkpoint), "me/toy", "--dry-run"])


def judged_here(folder, texts):
    """`proof.fresh_verdicts` without its process."""
    from transformers import pipeline

    return pipeline("mvh-detect", model=str(folder), trust_remote_code=True, device="cpu")(list(texts))


def test_other_verdicts_after_loading_are_refused(detector, tmp_path, monkeypatch):
    """The checkpoint's own code judges otherwise than this project's: nothing is published."""
    checkpoint = tmp_path / "older"
    shutil.copytree(detector, checkpoint)
    code = (checkpoint / "statistics_mvh.py").read_text()
    (checkpoint / "statistics_mvh.py").write_text(
        code.replace("def document_margin(", "def document_margin(*_):\n    return 4.5\n\n\ndef _older(")
    )
    assert (checkpoint / "statistics_mvh.py").read_text() != code

    monkeypatch.setattr(proof, "fresh_verdicts", judged_here)
    with pytest.raises(ValueError, match=r"judges otherwise than .*older: in example 1, \S+ is \S+ instead of"):
        proof.prove(checkpoint, detector, [TEXT])
    proof.prove(detector, detector, [TEXT])


@pytest.mark.slow
@pytest.mark.parametrize("combine", ["mean_margin", "mean_p"])
def test_an_ensemble_is_proven_too(detector, folder, tmp_path, combine):
    from mvh.ensemble import make_ensemble

    both = make_ensemble([detector, detector], tmp_path / "both", combine)
    assert push.assemble(both, folder, "me/both") == []
    push.refuse_leaks(folder)
    assert (folder / "tokenizers" / "1" / "tokenizer.json").is_file() and (folder / "ensemble_mvh.py").is_file()
    proof.prove(both, folder, [TEXT])
    again = export.refresh(both, tmp_path / "again", "float16")
    assert (again / "tokenizers" / "1" / "tokenizer.json").is_file()
    assert (again / "model.safetensors").stat().st_size < 0.6 * (both / "model.safetensors").stat().st_size
    merged = "### toy" in (folder / "README.md").read_text()
    assert merged == (combine == "mean_p")


def test_differences_are_named():
    before = {"label": "human", "segments": [{"margin": 1.0}], "p_value": None}
    assert proof.first_difference(before, {**before, "segments": [{"margin": 1.0000001}]}) is None
    assert (
        proof.first_difference(before, {**before, "segments": [{"margin": 1.1}]})
        == "segments[0].margin is 1.1 instead of 1.0"
    )
    assert proof.first_difference(before, {**before, "segments": []}) == "segments[0].margin is missing"
    assert proof.first_difference(before, {**before, "p_value": 0.5}) == "p_value is 0.5 instead of None"


def test_a_dataset_goes_in_one_commit_and_loads_back(built, hub, tmp_path, capsys):
    assert dataset_push.main([str(built), "me/texts", "--private"]) == 0
    repo = hub.repos["datasets", "me/texts"]
    assert len(repo.commits) == 2 and repo.private
    assert set(repo.commits[-1].files) >= {"README.md", "manifest.json"}
    assert f'load_dataset("me/texts", "documents", revision="{repo.commits[-1].oid}")' in capsys.readouterr().out
    code = (
        "from datasets import load_dataset\nsides = [load_dataset('me/texts'), load_dataset('me/texts', 'documents')]\n"
        "print([{split: len(rows) for split, rows in side.items()} for side in sides])"
    )
    environment = {**os.environ, **hub.environment(tmp_path / "hf")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads((built / "manifest.json").read_text())["counts"]
    for config, there in zip(("segments", "documents"), ast.literal_eval(done.stdout.splitlines()[-1]), strict=True):
        rows = {split: sum(sum(cell.values()) for cell in labels.values()) for split, labels in counts[config].items()}
        assert there == {split: number for split, number in rows.items() if number}


def test_a_damaged_or_leaking_dataset_stays_here(built, hub):
    manifest = (built / "manifest.json").read_text()
    (built / "manifest.json").write_text(manifest.replace('"tokenizer": {', f'"from": "{HOME}/x", "tokenizer": {{'))
    with pytest.raises(ValueError, match=rf"manifest\.json, line \d+: holds a local path \({HOME}\)"):
        dataset_push.push_dataset(built, "me/texts")
    (built / "manifest.json").write_text(manifest)
    train = next((built / "documents").glob("train-*.parquet"))
    shutil.copy(next((built / "documents").glob("choose-*.parquet")), train)
    with pytest.raises(ValueError, match=r"train-\S+ holds \d+ rows, and manifest\.json counts \d+"):
        dataset_push.push_dataset(built, "me/texts")
    train.unlink()
    with pytest.raises(ValueError, match="there is no such file"):
        dataset_push.push_dataset(built, "me/texts")
    with pytest.raises(ValueError, match="is no dataset folder"):
        dataset_push.push_dataset(built / "documents", "me/texts")
    with pytest.raises(ValueError, match="USER/NAME"):
        dataset_push.push_dataset(built, "texts")
    assert not hub.repos


LOAD_BACK = """
import json, sys
sys.modules["mvh"] = None
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, pipeline
text, revision = json.loads(sys.argv[1])
detect = pipeline("mvh-detect", model="me/toy", revision=revision, trust_remote_code=True)
classify = pipeline("text-classification", model="me/toy", trust_remote_code=True)
result = detect(text)
assert [entry["segments"] for entry in classify(text)] == [result["segments"]]
for auto in (AutoModel, AutoModelForSequenceClassification):
    model = auto.from_pretrained("me/toy", trust_remote_code=True)
    assert isinstance(model.config, AutoConfig.from_pretrained("me/toy", trust_remote_code=True).__class__)
print(json.dumps(result))
"""


def load_back(hub, home, revision=None, **environment):
    """The result of TEXT in a process elsewhere that knows only the Hub."""
    home.mkdir(exist_ok=True)
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD_BACK, json.dumps([TEXT, revision])],
        cwd=home,
        env={**clean, **hub.environment(home / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_journey_to_the_hub_and_back(detector, hub, tmp_path, capsys):
    """Proven in a fresh process, uploaded in one commit, loaded elsewhere with the Hub's own snippet: the same verdict."""
    assert push.main([str(detector), "me/toy", "--private"]) == 0
    said = capsys.readouterr().out
    repo = hub.repos["models", "me/toy"]
    commit = repo.commits[-1]
    assert len(repo.commits) == 2 and repo.private
    assert f'pipeline("mvh-detect", model="me/toy", revision="{commit.oid}", trust_remote_code=True)' in said
    assert "Logged in as me." in said and "(private)" in said and "hf auth login" in said
    sent = {path: hub.blobs[oid] for path, oid in commit.files.items()}
    assert not [path for path, content in sent.items() if str(tmp_path.parent.parent).encode() in content]

    from transformers import pipeline

    here = pipeline("mvh-detect", model=str(detector), trust_remote_code=True)(TEXT)
    there = load_back(hub, tmp_path / "user", commit.oid)
    assert there.pop("model")["revision"] == commit.oid
    here.pop("model")
    assert proof.first_difference(here, there) is None


@pytest.mark.slow
def test_the_command_a_pinned_revision_and_no_network(detector, tmp_path):
    """As a user: `mvh push` twice, the first commit pinned, then the cache alone; a stranger sees no private one."""
    with LocalHub() as hub:
        environment = {**os.environ, **hub.environment(tmp_path / "hf")}

        def command(*words, **more):
            words = [sys.executable, "-m", "mvh.push", *map(str, words)]
            return subprocess.run(
                words, env={**environment, **more}, capture_output=True, text=True, cwd=tmp_path, check=False
            )

        refused = command(detector, "me/toy", HF_TOKEN="")
        assert refused.returncode == 1 and refused.stderr.splitlines()[-1].startswith("error: You are not logged in")
        assert not hub.repos
        first = command(detector, "me/toy")
        assert first.returncode == 0, first.stderr
        pinned = re.search(r'revision="(\w{40})"', first.stdout)[1]
        config = json.loads((detector / "config.json").read_text())
        changed = tmp_path / "changed"
        shutil.copytree(detector, changed)
        (changed / "config.json").write_text(json.dumps(config | {"name": "renamed"}))
        assert command(changed, "me/toy").returncode == 0
        assert load_back(hub, tmp_path / "user")["model"]["name"] == "renamed"
        old = load_back(hub, tmp_path / "user", pinned)
        assert old["model"]["name"] == "toy" and old["model"]["revision"] == pinned
        hub.requests.clear()
        again = load_back(hub, tmp_path / "user", pinned, HF_HUB_OFFLINE="1")
        assert again == old and not hub.requests
        hub.repos["models", "me/toy"].private = True
        with pytest.raises(
            AssertionError, match=r"me/toy is not a local folder|Repository Not Found|RepositoryNotFound"
        ):
            load_back(hub, tmp_path / "stranger", HF_TOKEN="")


@pytest.mark.slow
def test_a_folder_whose_code_does_not_load_is_refused(detector, folder):
    push.assemble(detector, folder, "me/toy")
    (folder / "voting_mvh.py").write_text("from mvh.voting_mvh import *\n")
    with pytest.raises(ValueError, match="does not work in a fresh process"):
        proof.fresh_verdicts(folder, [TEXT])


def test_every_command_of_the_page_runs(detector, built, hub, tmp_path, monkeypatch, capsys):
    """docs/publish.md from top to bottom, with the toy detector and dataset, and without the fresh process each time."""
    page = (ROOT / "docs" / "publish.md").read_text()
    blocks = re.findall(r"^```sh.*\n((?:.*\n)*?)```$", page, re.MULTILINE)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 6
    results = tmp_path / "results.json"
    measured = {"name": "toy", "calibration": None, "weights": open_folder(detector)[0].fingerprint()}
    results.write_text(json.dumps({"score": {"detector": measured, "files": {}}}))
    texts = tmp_path / "examples"
    texts.mkdir()
    (texts / "one.txt").write_text(TEXT)
    mine = {
        "checkpoints/mvh-mini-en": detector, "runs/to-publish": tmp_path / "to-publish", "USER/NAME": "me/toy",
        "results/mvh-mini-en.json": results, "runs/data": built, "examples/": texts,
    }  # fmt: skip
    rooms = {
        "mvh push": push.main,
        "mvh compare": compare.main,
        "python -m mvh.dataset_builder.push": dataset_push.main,
    }
    monkeypatch.setattr(proof, "fresh_verdicts", judged_here)
    for command in commands:
        if command == "hf auth login":
            continue
        (start,) = [start for start in rooms if command.startswith(start)]
        words = [str(mine.get(word, word)) for word in command.removeprefix(start).split()]
        assert rooms[start](words) == 0, command
    assert (tmp_path / "to-publish" / "handler.py").is_file()
    assert {kind for kind, _ in hub.repos} == {"models", "datasets"}
