"""Every architecture of the article by the same training: freeze schedule, LoRA merged on export, the label as a token."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM

from mvh import recipe as recipe_room
from mvh import train
from mvh.building import build_model, label_tokens
from mvh.configuration_mvh import MvhConfig
from mvh.dataset_builder.build import build_dataset
from mvh.modeling_mvh import MvhForSequenceClassification, label_token_ids

from .conftest import TINY, make_rows, make_text, write_jsonl

ROOT = Path(train.__file__).parent
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
DEBERTA = {"relative_attention": True, "position_buckets": 32, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
SHAPES = {
    "deberta-v2": TINY | DEBERTA,
    "xlm-roberta": TINY | {"max_position_embeddings": 514},
    "bert": TINY,  # of MiniLM
    "t5": T5,
}
WORDS = ["dog", "robust"]  # whole words of the tiny tokenizer
# recipe of the article -> architecture, and where the frozen part and the head are in the state dict
RECIPES = {
    "article_en_plain": ("deberta-v2", "encoder.", "head."),
    "article_xlmr": ("xlm-roberta", "encoder.", "head."),
    "article_minilm": ("bert", "encoder.", "head."),
    "article_t5_encoder": ("t5", "encoder.", "head."),
    "article_t5_full": ("t5", ("encoder.encoder.", "encoder.shared."), "encoder.decoder."),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer):
    """A random backbone of every architecture with the tiny tokenizer; T5 with its decoder."""
    found = {}
    for kind, shape in SHAPES.items():
        found[kind] = tmp_path_factory.mktemp(kind)
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape)
        (AutoModelForSeq2SeqLM if kind == "t5" else AutoModel).from_config(config).save_pretrained(found[kind])
        tokenizer.save_pretrained(found[kind])
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("data")
    file = write_jsonl(folder / "train.jsonl", make_rows(60, words=(10, 40)))
    return build_dataset(file, tokenizer, folder / "data", core_tokens=32, context_tokens=8, progress=False)


def trained(name, folders, data, out, *options):
    """A run of a recipe of the article at toy size: one frozen epoch, one open; the state dicts of both and of the end."""
    kind, *_ = RECIPES[name]
    train.main(
        [
            str(ROOT / "recipes" / f"{name}.yaml"), "--backbone", str(folders[kind]), "--dataset", str(data),
            "--core_tokens", "32", "--context_tokens", "8", "--head_widths", "16", "8", "--label_words", *WORDS,
            "--num_train_epochs", "2", "--frozen_epochs", "1", "--lr_milestones", "1", "--learning_rate", "0.01",
            "--use_cpu", "True", "--disable_tqdm", "True", "--output_dir", str(out), *options,
        ]
    )  # fmt: skip
    file = "adapter_model.safetensors" if options else "model.safetensors"
    saved = sorted(out.glob(f"checkpoint-*/{file}"), key=lambda path: int(path.parent.name.split("-")[1]))
    return [load_file(path) for path in [*saved, out / "model" / "model.safetensors"]]


def start_of(folders, kind):
    """The backbone's weights under the names they have in a detector."""
    return {f"encoder.{name}": value for name, value in load_file(folders[kind] / "model.safetensors").items()}


def moved(before, after, part):
    """Names of a part of the state dict whose values differ."""
    names = [name for name in after if name.startswith(part) and name in before]
    assert names, part
    return [name for name in names if not torch.equal(before[name], after[name])]


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipe_trains_with_the_freeze_schedule(name, folders, data, tmp_path):
    kind, body, head = RECIPES[name]
    frozen, opened, final = trained(name, folders, data, tmp_path)
    start = start_of(folders, kind)
    assert not moved(start, frozen, body)
    assert moved(frozen, opened, body) and moved(frozen, opened, head)
    if head == "encoder.decoder.":
        assert moved(start, frozen, head)
    assert not moved(opened, final, "")
    assert MvhForSequenceClassification.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("name", RECIPES)
def test_lora_obeys_the_freeze_schedule_and_is_merged(name, folders, data, tmp_path):
    kind, body, head = RECIPES[name]
    frozen, opened, final = trained(name, folders, data, tmp_path, "--lora_r", "2", "--lora_alpha", "6")
    start, prefix = start_of(folders, kind), "base_model.model."
    b = [name for name in frozen if name.endswith("lora_B.weight")]
    parts = tuple(f"{prefix}{part}" for part in ([body] if isinstance(body, str) else body))
    inside = [name for name in b if name.startswith(parts)]
    assert inside and not any(frozen[name].any() for name in inside), "LoRA of the encoder moved in the frozen epoch"
    assert all(opened[name].any() for name in inside), "LoRA of the encoder stood still in the open epoch"
    assert len(inside) == len(b) or any(frozen[name].any() for name in set(b) - set(inside)), (
        "the decoder's stood still"
    )
    expected = dict(start)
    for name in b:
        target = name.removeprefix(prefix).replace("lora_B.", "")
        expected[target] = start[target] + 3.0 * opened[name] @ opened[name.replace("lora_B", "lora_A")]  # alpha / r
    for name, value in final.items():
        if name in expected:
            assert torch.allclose(value, expected[name], atol=1e-6), name
    assert not any("lora" in name for name in final)
    assert head == "encoder.decoder." or moved(frozen, opened, f"{prefix}{head}")


def test_a_whole_t5_answers_alike_in_a_fresh_process(folders, data, tokenizer, tmp_path):
    *_, final = trained("article_t5_full", folders, data, tmp_path)
    assert any(name.startswith("encoder.decoder.") for name in final) and not any(n.startswith("head.") for n in final)
    model = MvhForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    assert model.encoder.lm_head.weight is model.encoder.shared.weight
    code = (
        "import json, sys\nfrom transformers import pipeline\n"
        "detect = pipeline('mvh-detect', model=sys.argv[1], trust_remote_code=True)\n"
        "print(json.dumps([detect(text)['margin'] for text in sys.argv[2:]]))\n"
    )
    texts = [make_text(label, 15, 5) for label in (0, 1)]
    source = f"import mvh.pipeline_mvh\n{code}"
    command = [sys.executable, "-c", source, str(tmp_path / "model"), *texts]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    margins = json.loads(done.stdout.splitlines()[-1])
    assert margins[1] - margins[0] > 0.5  # it has learnt
    ids = model.config.label_token_ids
    for text, margin in zip(texts, margins, strict=True):
        segment = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(segment).logits[0]
            word = model.encoder.generate(  # decoding constrained to the label words
                segment, max_new_tokens=1, prefix_allowed_tokens_fn=lambda *_: ids, do_sample=False
            )[0, -1]
        assert margin == pytest.approx(float(logits[1] - logits[0]), abs=1e-4)
        assert ids.index(int(word)) == int(logits.argmax())


def test_a_label_token_has_no_use_for_a_pooling(folders, tokenizer):
    args = recipe_room.ModelArguments(
        backbone=str(folders["t5"]), head="label_token", label_words=WORDS, pooling="statistics"
    )
    model = build_model(args, Dataset.from_dict({"input_ids": [[5, 6, 7]]}), label_tokens(args, tokenizer))
    assert not hasattr(model, "pool") and torch.isfinite(model(torch.tensor([[5, 6, 7]])).logits).all()


def test_an_output_layer_of_its_own_and_its_scale_come_back_from_disk(folders, tmp_path):
    """T5 v1.1 and mT5 do not tie their output layer to the embeddings, and do not scale what it reads."""
    source = AutoModelForSeq2SeqLM.from_pretrained(folders["t5"])
    source.lm_head.weight = torch.nn.Parameter(torch.randn_like(source.lm_head.weight))
    source.all_tied_weights_keys.pop("lm_head.weight")
    source.save_pretrained(tmp_path / "untied")
    file = tmp_path / "untied" / "config.json"
    published = json.loads(file.read_text()) | {"tie_word_embeddings": False}
    del published["scale_decoder_outputs"]
    file.write_text(json.dumps(published))
    fields = {"head": "label_token", "label_token_ids": [5, 6], "core_tokens": 32, "context_tokens": 8}
    model = MvhForSequenceClassification.from_backbone(str(tmp_path / "untied"), **fields).eval()
    assert torch.equal(model.encoder.lm_head.weight, source.lm_head.weight)
    assert model.encoder.config.scale_decoder_outputs is False
    ids = torch.arange(5, 17).reshape(2, 6)
    start = torch.zeros(2, 1, dtype=torch.long)
    wanted = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "untied").eval()(ids, decoder_input_ids=start).logits
    model.save_pretrained(tmp_path / "saved")
    again = MvhForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    assert torch.equal(model(ids).logits, wanted[:, 0, [5, 6]]) and torch.equal(again(ids).logits, model(ids).logits)
    assert again.encoder.lm_head.weight is not again.encoder.shared.weight
    model.freeze_encoder(True)
    assert model.encoder.lm_head.weight.requires_grad and not model.encoder.shared.weight.requires_grad


def test_a_frozen_t5_trains_its_decoder_alone(folders):
    fields = {"head": "label_token", "label_token_ids": [5, 6]}
    model = MvhForSequenceClassification.from_backbone(str(folders["t5"]), **fields)
    model.freeze_encoder(True)
    model.train()
    assert model.encoder.decoder.training and not model.encoder.encoder.training
    model(torch.arange(5, 17).reshape(2, 6), labels=torch.tensor([0, 1])).loss.backward()
    trained_names = {name for name, value in model.named_parameters() if value.grad is not None}
    assert trained_names and all(name.startswith("encoder.decoder.") for name in trained_names)
    assert not any("embed_tokens" in name for name in trained_names)
    model.freeze_encoder(False)
    assert all(value.requires_grad for value in model.parameters())


def test_impossible_label_tokens_are_refused(folders, tokenizer):
    with pytest.raises(ValueError, match=r"'grandmas' is \['grandma', '##s'\] to .*; name other label_words"):
        label_token_ids(tokenizer, ["dog", "grandmas"])
    with pytest.raises(ValueError, match=r"the same token"):
        label_token_ids(tokenizer, ["dog", "Dog"])
    assert len(label_token_ids(tokenizer, WORDS)) == 2
    with pytest.raises(ValueError, match="needs an encoder-decoder such as T5, and a bert is none"):
        MvhForSequenceClassification.from_backbone(str(folders["bert"]), head="label_token", label_token_ids=[5, 6])
    t5 = AutoConfig.for_model("t5", vocab_size=100, **T5)
    for fields, message in [
        ({"head": "words"}, "'words'"),
        ({"label_token_ids": [1, 2]}, "the head is 'layers'"),
        ({"head": "label_token"}, "two label_token_ids below 100, got None"),
        ({"head": "label_token", "label_token_ids": [1, 100]}, r"got \[1, 100\]"),
        ({"head": "label_token", "label_token_ids": [1, 2], "feature_names": ["comma_share"]}, "1 are named"),
    ]:
        with pytest.raises(ValueError, match=message):
            MvhConfig(t5, **fields)
    with pytest.raises(ValueError, match="needs the backbone's decoder_start_token_id, and this t5 names none"):
        MvhConfig(AutoConfig.for_model("t5", vocab_size=100), head="label_token", label_token_ids=[1, 2])


def test_a_recipe_says_no_early(folders, tmp_path):
    given = ["--train_file", "x", "--output_dir", str(tmp_path), "--head", "label_token"]
    with pytest.raises(ValueError, match="takes no handcrafted features"):
        recipe_room.parse_recipe([*given, "--feature_names", "comma_share"])
    with pytest.raises(ValueError, match="label_words must be two words"):
        recipe_room.parse_recipe([*given, "--label_words", "human"])
    for kind, message in (("bert", "a bert is none"), ("t5", "'machine' is .* name other label_words")):
        with pytest.raises(ValueError, match=message):
            train.main([*given, "--backbone", str(folders[kind]), "--labels", "dog", "machine"])
    assert not (tmp_path / "data").exists()
