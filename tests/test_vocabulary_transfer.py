"""An encoder for other texts: known pieces keep their vectors, new ones begin where the encoder's own pieces for them lie."""

import json

import pytest
import torch
from datasets import load_dataset
from transformers import AutoConfig, AutoModel, AutoTokenizer, MPNetConfig, MPNetModel, MPNetTokenizer

from mvh import train, vocabulary_transfer
from mvh.dataset_builder.build import build_dataset
from mvh.experiments.small_backbone import small_backbone
from mvh.export import public_name
from mvh.normalization_mvh import normalize
from mvh.vocabulary_transfer import transfer, transferred, word_pieces

from .conftest import make_text, write_jsonl

WORDS = ["Das Wasser im Fluss ist kalt, sagte der Fischer.", "Вода в реке холодная, сказал рыбак.", "川の水は冷たい。"]


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    texts = [make_text(index % 2, 60, seed=index) for index in range(20)]
    return small_backbone(texts, tmp_path_factory.mktemp("donor") / "bert", 0, 200, hidden_size=16, num_hidden_layers=3)


def test_each_vector_has_its_origin(donor):
    known, vectors = (
        AutoTokenizer.from_pretrained(donor),
        AutoModel.from_pretrained(donor).get_input_embeddings().weight,
    )
    vectors = vectors.detach()
    tokenizer = word_pieces([make_text(0, 60, seed=1), *WORDS * 5], 150, 128)
    found, own = transferred(tokenizer, known, vectors, 0)
    kinds = {"own": 0, "mean": 0, "drawn": 0}
    for piece, row in tokenizer.get_vocab().items():
        if piece in known.get_vocab():
            kind, expected = "own", vectors[known.get_vocab()[piece]]
        else:
            parts = known(piece.removeprefix("##"), add_special_tokens=False)["input_ids"]
            kind = "drawn" if parts == [known.unk_token_id] else "mean"
            expected = vectors[[part for part in parts if part != known.unk_token_id]].mean(0)
        kinds[kind] += 1
        assert kind == "drawn" or torch.equal(found[row], expected), piece
    assert kinds["own"] == own and all(kinds.values())
    drawn = tokenizer.get_vocab()["川"]
    assert torch.isfinite(found).all() and not torch.equal(found[drawn], found[tokenizer.get_vocab()["р"]])


def test_a_text_of_known_pieces_keeps_its_vectors(donor, tmp_path):
    """With the donor's own vocabulary and all its layers nothing changes."""
    texts = [make_text(index % 2, 60, seed=index) for index in range(20)]
    same = transfer(str(donor), [normalize(text).text for text in texts], tmp_path / "same", 200, None, 0)
    one, other = (AutoTokenizer.from_pretrained(folder) for folder in (donor, same))
    assert one.get_vocab() == other.get_vocab()
    ids = one(texts[0], return_tensors="pt")
    with torch.inference_mode():
        states = [AutoModel.from_pretrained(folder).eval()(**ids).last_hidden_state for folder in (donor, same)]
    assert torch.equal(*states)


def test_the_same_texts_give_the_same_pieces():
    """Many pairs are equally frequent here, and hash tables are in another order each time."""
    made = [word_pieces([make_text(0, 60, seed=seed) for seed in range(20)], 120, 128).get_vocab() for _ in range(4)]
    assert all(vocabulary == made[0] for vocabulary in made) and len(made[0]) == 120


def test_first_layers_are_kept(donor, tmp_path):
    folder = transfer(str(donor), WORDS * 5, tmp_path / "short", 120, 2, 0)
    old, new = (AutoModel.from_pretrained(folder).state_dict() for folder in (donor, folder))
    assert AutoConfig.from_pretrained(folder).num_hidden_layers == 2
    assert all(torch.equal(value, old[name]) for name, value in new.items() if "word_embeddings" not in name)
    assert not any(name.startswith("encoder.layer.2.") for name in new)
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"{count} layers were asked for, and bert has 1 to 3"):
            transfer(str(donor), WORDS, tmp_path / "no", 120, count, 0)
    with pytest.raises(FileExistsError, match="is there already"):
        transfer(str(donor), WORDS, folder, 120, 2, 0)


def test_without_texts_the_word_pieces_stay(donor, tmp_path):
    folder = vocabulary_transfer.main([str(donor), "--layers", "2", "--out", str(tmp_path / "short")])
    tokenizers = [AutoTokenizer.from_pretrained(place) for place in (donor, folder)]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()
    ids = tokenizers[0]("Words of the donor.", return_tensors="pt")
    with torch.inference_mode():
        whole = AutoModel.from_pretrained(donor).eval()(**ids, output_hidden_states=True).hidden_states[2]
        assert torch.equal(AutoModel.from_pretrained(folder).eval()(**ids).last_hidden_state, whole)


def test_what_was_made_of_an_encoder_has_its_name_in_public(donor, tmp_path):
    once = transfer(str(donor), [], tmp_path / "short-2", None, 2, 0)
    twice = transfer(str(once), [], tmp_path / "short-1", None, 1, 0)
    assert [public_name(str(place)) for place in (donor, once, twice)] == [donor.name] * 3
    assert public_name("sentence-transformers/all-mpnet-base-v2") == "sentence-transformers/all-mpnet-base-v2"


def test_the_most_used_pieces_are_kept(donor, tmp_path):
    """What they spell has the donor's vectors; everything else is spelt in shorter pieces, nothing is lost."""
    texts = [make_text(index % 2, 60, seed=index) for index in range(20)]
    whole = AutoTokenizer.from_pretrained(donor)
    folder = transfer(str(donor), texts[:10], tmp_path / "fewer", None, None, 0, keep=150)
    fewer = AutoTokenizer.from_pretrained(folder)
    config, old = (AutoConfig.from_pretrained(place) for place in (folder, donor))
    assert len(fewer) == config.vocab_size == 150 < len(whole) and config.pad_token_id == fewer.pad_token_id
    assert {name: getattr(fewer, name) for name in ("cls_token", "sep_token", "pad_token", "unk_token")} == {
        name: getattr(whole, name) for name in ("cls_token", "sep_token", "pad_token", "unk_token")
    }
    models = [AutoModel.from_pretrained(place).eval() for place in (donor, folder)]
    same = 0
    for text in [*texts, "zyx Qu1te odd, w0rds!"]:
        pieces = [one.tokenize(text) for one in (whole, fewer)]
        assert "".join(pieces[0]).replace("##", "") == "".join(pieces[1]).replace("##", "")
        words = [word for word in text.split() if whole.tokenize(word) == fewer.tokenize(word)]
        ids = [one(" ".join(words), return_tensors="pt") for one in (whole, fewer)]
        assert ids[1]["input_ids"][0, 0] == fewer.cls_token_id and ids[1]["input_ids"][0, -1] == fewer.sep_token_id
        with torch.inference_mode():
            states = [model(**one).last_hidden_state for model, one in zip(models, ids, strict=True)]
        assert torch.equal(*states)
        same += len(words)
    assert same > 100 and old.vocab_size == len(whole)
    for count in (10, len(whole)):
        with pytest.raises(ValueError, match=f"{count} cannot be kept"):
            transfer(str(donor), texts, tmp_path / "no", None, None, 0, keep=count)
    with pytest.raises(ValueError, match="--texts are missing, and --vocabulary is None"):
        vocabulary_transfer.main([str(donor), "--keep", "150", "--out", str(tmp_path / "no")])


def test_a_donor_that_numbers_its_pieces_otherwise_can_lose_some(tmp_path):
    """MPNet's padding is number 1, and its mask comes last."""
    pieces = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "[UNK]",
        *"abcdw",
        "##a",
        "##b",
        "##r",
        "##d",
        "word",
        "##ly",
        "rare",
        "<mask>",
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    MPNetTokenizer(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "mpnet")
    small = {"vocab_size": len(pieces), "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
    MPNetModel(MPNetConfig(**small, num_hidden_layers=1)).save_pretrained(tmp_path / "mpnet")
    folder = transfer(str(tmp_path / "mpnet"), ["word word wordly a"] * 3, tmp_path / "fewer", None, None, 0, keep=17)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert "rare" not in tokenizer.get_vocab() and len(tokenizer) == 17
    assert tokenizer.mask_token_id == 16 and tokenizer.pad_token_id == 1
    ids = tokenizer("wordly", return_tensors="pt")
    assert tokenizer.convert_ids_to_tokens(ids["input_ids"][0]) == ["<s>", "word", "##ly", "</s>"]
    whole = AutoTokenizer.from_pretrained(tmp_path / "mpnet")
    models = [AutoModel.from_pretrained(place).eval() for place in (tmp_path / "mpnet", folder)]
    with torch.inference_mode():
        states = [
            model(**one("wordly", return_tensors="pt")).last_hidden_state
            for model, one in zip(models, (whole, tokenizer), strict=True)
        ]
    assert torch.equal(*states)


def test_a_donor_that_numbers_its_pieces_otherwise_keeps_them(donor, tmp_path):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    other = tmp_path / "mpnet"
    MPNetModel(MPNetConfig(vocab_size=300, **sizes)).save_pretrained(other)
    tokenizer = AutoTokenizer.from_pretrained(donor)
    tokenizer.pad_token = "[MASK]"  # of number 4, as MPNet's is of number 1
    tokenizer.save_pretrained(other)
    with pytest.raises(ValueError, match="padding number 0, and mpnet has WordPiece pieces with padding 4"):
        transfer(str(other), WORDS, tmp_path / "new", 120, None, 0)
    assert AutoConfig.from_pretrained(transfer(str(other), [], tmp_path / "short", None, 1, 0)).num_hidden_layers == 1
    with pytest.raises(ValueError, match="--vocabulary 40 word pieces are made of --texts"):
        vocabulary_transfer.main([str(donor), "--vocabulary", "40", "--out", str(tmp_path / "none")])


def test_roles_are_dealt_to_all_files_together(donor, tmp_path, monkeypatch):
    """A text in two files under two pairs must not be read from one of them where the other's copy is held out."""
    texts = [make_text(n % 2, 60, seed=n) for n in range(60)]
    files = []
    for file in range(2):
        rows = [
            {"id": n, "label": n % 2, "text": text, "model": "m", "source": "reddit", "pair": f"{file}-{n}"}
            for n, text in enumerate(texts)
        ]
        files.append(write_jsonl(tmp_path / f"{file}.jsonl", rows))
    read = []
    monkeypatch.setattr(vocabulary_transfer, "transfer", lambda donor, texts, *rest: read.append(texts))
    vocabulary_transfer.main([str(donor), "--texts", *map(str, files), "--out", str(tmp_path / "out")])
    tokenizer = AutoTokenizer.from_pretrained(donor)
    built = build_dataset(files, tokenizer, tmp_path / "data", progress=False)
    learnt = {normalize(row["text"]).text for row in load_dataset(str(built), "documents", split="train")}
    assert set(read[0]) == learnt


def test_the_same_text_reads_alike_in_every_case_and_keeps_its_accents():
    tokenizer = word_pieces(WORDS * 5, 300, 128)
    assert tokenizer("ВОДА")["input_ids"] == tokenizer("вода")["input_ids"]
    assert tokenizer("холодная")["input_ids"] != tokenizer("холоднаи")["input_ids"]
    assert tokenizer.tokenize("й") == ["[UNK]"]  # not the и of its own alphabet: no text here has an й


def test_command_makes_a_backbone_that_trains(donor, tmp_path):
    rows = [
        {
            "id": n,
            "label": n % 2,
            "text": make_text(n % 2, 60, seed=n) + " " + WORDS[n % 3],
            "model": "m",
            "source": "reddit",
        }
        for n in range(60)
    ]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path / "backbone"
    command = [str(donor), "--texts", str(file), "--vocabulary", "250", "--layers", "1", "--out", str(out)]
    assert vocabulary_transfer.main(command) == out
    options = [
        "--train_file",
        str(file),
        "--backbone",
        str(out),
        "--output_dir",
        str(tmp_path / "run"),
        "--use_cpu",
        "True",
    ]
    model = train.main(
        [*options, "--num_train_epochs", "1", "--disable_tqdm", "True", "--core_tokens", "64", "--context_tokens", "16"]
    )
    assert json.loads((model / "config.json").read_text())["backbone_config"]["num_hidden_layers"] == 1
