"""Shares as asked, nothing asked twice, nothing lost when a back-end fails or dies; tiny real Marian and T5 models."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
import torch
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import MarianConfig, MarianMTModel, MarianTokenizer, T5Config, T5ForConditionalGeneration

from mvh import train
from mvh.dataset_builder import __main__ as command_line
from mvh.dataset_builder import augment, rewriters
from mvh.dataset_builder.augment import Augmentation, make_plans, sentences_of, share_of
from mvh.dataset_builder.build import build_dataset
from mvh.dataset_builder.rewrite_cache import RewriteCache
from mvh.dataset_builder.rewriters import Backend, RewriteError, choose, patiently, within
from mvh.dataset_builder.sentences import cut_long, pack, replace_spans, split_sentences
from mvh.seen import dataset_texts
from mvh.tests.conftest import SENTENCES, make_rows, write_jsonl

ENDING = {"exponential_decay_length_penalty": (3, 4.0), "min_new_tokens": 3}  # a random model ends only by force


# --- sentences


@pytest.mark.parametrize(
    "text",
    [
        "It is 3.5 metres long. | It is heavy!",
        "Dr. A. B. Smith et al. met us, e.g. in the U.S. yesterday. | “Why?” | Nobody knows…  | The end",
        "all in small letters. | as some data are. | e.g. this",
        "Работа В.М. Иванова и E.L. Smith важна. | Да.",
        "See Fig. 2 below. | Then, etc. and so on.",
        "1. First do this. | \n2. Then that.",
        "A heading | \n\n a small paragraph | \n\n Another.",
        "A line that was\nwrapped by hand. | And one | \n That was not.",
        "Проф. Иванов И. И. приехал (см. рис. 2), т. е. вернулся. | В 2021 г. всё изменилось. | Правда?",
        "今天天气很好。| 我们去公园散步！| 真的吗？",
        "ذهب الولد إلى المدرسة؟ | نعم.",
    ],
)
def test_sentences_end_where_a_reader_ends_them(text):
    wanted = [part.strip() for part in text.split("|")]
    joined = text.replace(" | ", " ").replace("| ", "")
    assert [joined[start:end] for start, end in split_sentences(joined)] == wanted


@given(st.text(alphabet="aB.!? \n,;1。、\u00a0é", max_size=80), st.integers(1, 12))
def test_pieces_fit_lie_in_order_and_leave_only_white_space_between(text, limit):
    def fits(piece: str) -> bool:
        return len(piece) <= limit

    sentences = split_sentences(text)
    for spans in (sentences, [p for s in sentences for p in cut_long(text, s, fits)]):
        edges = [0, *(edge for span in spans for edge in span), len(text)]
        assert edges == sorted(edges)
        assert not "".join(text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)).strip()
        assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
        assert replace_spans(text, [(span, text[slice(*span)]) for span in spans]) == text
    assert all(fits(text[slice(*span)]) for span in spans)
    assert all("\n" not in text[a:b] or (a, b) in spans for a, b in pack(text, spans, fits))


def test_long_sentences_are_cut_at_a_clause_and_then_at_a_word():
    text = "When the rain stopped at last, the dog went out"
    assert [text[slice(*s)] for s in cut_long(text, (0, len(text)), lambda piece: len(piece) <= 30)] == [
        "When the rain stopped at last,",
        "the dog went out",
    ]
    words = "one two three four five six seven eight"
    pieces = [words[slice(*s)] for s in cut_long(words, (0, len(words)), lambda piece: len(piece) <= 9)]
    assert " ".join(pieces) == words


# --- choice


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.5, 1.0])
def test_shares_are_exact_nest_and_follow_the_seed_alone(share):
    names = [f"text-{index}" for index in range(200)]
    chosen = share_of(names, share, 0, "translation")
    assert len(chosen) == 200 * share
    assert share_of(random.Random(1).sample(names, 200), share, 0, "translation") == chosen
    assert set(share_of(names, share / 2, 0, "translation")) <= set(chosen)
    assert share == 1 or set(share_of(names, share, 1, "translation")) != set(chosen)


@pytest.mark.parametrize(("kind", "least", "most"), [("every", 0, 10), ("half", 5, 10)])
def test_shares_of_sentences_fill_their_whole_range(kind, least, most):
    (plan,) = make_plans(paraphrase=kind)
    counts = {len(sentences_of(10, plan, 0, f"text-{index}")) for index in range(400)}
    assert counts == set(range(least, most + 1))
    assert sentences_of(0, plan, 0, "empty") == []
    assert len(sentences_of(1, make_plans(paraphrase="half")[0], 0, "one")) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"translate": 50}, "between 0 and 1"),
        ({"translate": float("nan")}, "between 0 and 1"),
        ({"paraphrase": "all"}, "every, half"),
        ({"translate": 0.5, "translator": "bing"}, "marian, google"),
    ],
)
def test_plans_that_cannot_be_meant_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        make_plans(**options)


# --- fake back-ends, registered as a user would register one


class Fake:
    """A back-end that writes « » around a piece, counts its calls and misbehaves on demand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, table: str = "TRANSLATORS", batch: int = 4) -> None:
        self.calls = 0
        self.pieces: list[str] = []
        self.die_after: int | None = None
        self.fail = lambda piece: None
        backend = Backend("fake", "fake/1", {}, self.rewrite, fits=lambda piece: len(piece) <= 200, batch=batch)
        self.settings = dict(backend.settings)
        monkeypatch.setitem(getattr(rewriters, table), "fake", lambda model: replace(backend, settings=self.settings))

    def rewrite(self, pieces: list[str]) -> list:
        self.calls += 1
        if self.die_after is not None and self.calls > self.die_after:
            raise KeyboardInterrupt
        self.pieces += pieces
        answers = []
        for piece in pieces:
            fault = self.fail(piece)
            if isinstance(fault, Exception) and not isinstance(fault, RewriteError):
                raise fault
            answers.append(f"«{piece}»" if fault is None else fault)
        return answers


@pytest.fixture
def translator(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


def rows(count: int = 40, lang: str = "en") -> list[dict]:
    """Rows with roles; every sentence of their texts begins with a capital."""
    made = [row | {"id": str(row["id"]), "role": "train", "lang": lang} for row in make_rows(count)]
    return [row | {"text": re.sub(r"\. .", lambda match: match[0].upper(), row["text"])} for row in made]


def work(plan, data, cache: Path, seed: int = 0, **options) -> tuple[Augmentation, list[dict]]:
    (augmentation,) = augment.carry_out(
        [plan], data, lambda ids: (row for row in data if row["id"] in ids), seed, cache, **options
    )
    return augmentation, [augmentation.apply(row) for row in data]


TRANSLATE = make_plans(translate=0.5)[0]
PLAN = replace(TRANSLATE, backend="fake")


def test_a_translation_touches_the_share_asked_and_nothing_else(tmp_path, translator):
    data = rows(40) + [row | {"id": f"held-{row['id']}", "role": "choose"} for row in rows(8)]
    data += [row | {"id": f"ru-{row['id']}"} for row in rows(4, lang="ru")]
    made, changed = work(PLAN, data, tmp_path / "c.sqlite")
    touched = [(old, new) for old, new in zip(data, changed, strict=True) if old != new]
    assert len(touched) == 10  # half of the 20 English machine texts to train on
    for old, new in touched:
        assert (old["label"], old["role"], old["lang"]) == (1, "train", "en")
        assert (new["model"], new["lang"]) == ("chatGPT+translation", "ru")
        assert {key: new[key] for key in ("id", "pair", "label", "source", "role")} == {
            key: old[key] for key in ("id", "pair", "label", "source", "role")
        }
        assert new["text"].count("«") == len(split_sentences(old["text"]))
        assert new["text"].replace("«", "").replace("»", "") == old["text"]
    record = made.record()
    assert record["texts"] == {"asked": 10, "done": 10, "failed": 0, "left": 0}
    assert record["machine_texts"] == {"en": 20, "other languages": 2}
    assert (record["seed"], record["backend"]["model"]) == (0, "fake/1")
    json.dumps(record)


def test_what_is_kept_is_not_asked_again_and_other_settings_ask_anew(tmp_path, translator):
    made, first = work(PLAN, rows(), tmp_path / "c.sqlite")
    calls = translator.calls
    again, second = work(PLAN, rows(), tmp_path / "c.sqlite")
    assert translator.calls == calls and first == second and made.record() == again.record()
    assert len(translator.pieces) == len(set(translator.pieces))
    _, other = work(PLAN, rows(), tmp_path / "c.sqlite", seed=1)
    assert other != first
    calls = translator.calls
    translator.settings["beams"] = 2
    work(PLAN, rows(), tmp_path / "c.sqlite")
    assert translator.calls > calls


def test_a_killed_run_goes_on_where_it_was(tmp_path, translator):
    translator.die_after = 3
    with pytest.raises(KeyboardInterrupt):
        work(PLAN, rows(), tmp_path / "c.sqlite")
    finished = set(translator.pieces)
    translator.die_after, translator.pieces = None, []
    _, resumed = work(PLAN, rows(), tmp_path / "c.sqlite")
    assert len(finished) == 12 and not finished & set(translator.pieces)
    _, whole = work(PLAN, rows(), tmp_path / "fresh.sqlite")
    assert resumed == whole


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("", "the answer is empty"),
        (" \n", "the answer is empty"),
        (RewriteError(rewriters.ENDLESS), "does not come to an end"),
        (TimeoutError("there was no answer within 30 seconds"), "no answer within 30 seconds"),
        (RuntimeError("out of memory\nlong trace"), "out of memory"),
    ],
)
def test_a_text_that_fails_stays_as_it_is_and_is_counted(tmp_path, monkeypatch, fault, reason):
    fake = Fake(monkeypatch, batch=1)
    data = rows(12)
    (victim, *_) = share_of([row["id"] for row in data if row["label"]], 0.5, 0, "translation")
    text = next(row["text"] for row in data if row["id"] == victim)
    bad = text[slice(*split_sentences(text)[-1])]
    fake.fail = lambda piece: fault if piece == bad else None
    made, changed = work(PLAN, data, tmp_path / "c.sqlite")
    assert next(row for row in changed if row["id"] == victim) == next(row for row in data if row["id"] == victim)
    record = made.record()
    assert record["texts"] == {"asked": 3, "done": 2, "failed": 1, "left": 0}
    ((said, count),) = record["failed"].items()
    assert reason in said and "\n" not in said and count == 1
    with pytest.raises(ValueError, match=f"(?s){reason}.+kept in .+strict.sqlite"):
        work(PLAN, data, tmp_path / "strict.sqlite", strict=True)
    fake.fail, fake.pieces = lambda piece: None, []
    assert work(PLAN, data, tmp_path / "c.sqlite")[0].record()["texts"]["done"] == 3
    assert fake.pieces == [bad]  # everything else had been kept


def test_a_dead_backend_is_not_asked_for_ever_and_its_finished_work_stays(tmp_path, translator):
    def refuse(piece: str) -> Exception | None:
        return ConnectionError("no route to host") if translator.calls > 2 else None

    translator.fail = refuse
    try:
        work(PLAN, rows(), tmp_path / "c.sqlite")
    except ValueError as error:
        assert "rewrote none" in str(error)
    assert translator.calls == 2 + augment.PATIENCE
    translator.fail, translator.pieces = lambda piece: None, []
    work(PLAN, rows(), tmp_path / "c.sqlite")
    whole = Augmentation(PLAN, rows(), 0, RewriteCache(tmp_path / "whole.sqlite"))
    total = len({piece for row in rows() if row["id"] in whole.chosen for piece in whole._pieces(row)})
    assert len(translator.pieces) == total - 8


def test_when_nothing_at_all_was_rewritten_that_is_an_error(tmp_path, translator):
    translator.fail = lambda piece: ConnectionError("no route to host")
    with pytest.raises(ValueError, match=r"rewrote none of 10 texts: .*no route to host"):
        work(PLAN, rows(), tmp_path / "c.sqlite")
    with pytest.raises(ValueError, match="English machine texts.+none among its 20"):
        work(PLAN, rows(lang="ru"), tmp_path / "c.sqlite")


def test_a_file_that_is_no_cache_is_refused(tmp_path, translator):
    (tmp_path / "c.sqlite").write_text("not a database, " * 100)
    with pytest.raises(ValueError, match=r"c\.sqlite cannot be used"):
        work(PLAN, rows(), tmp_path / "c.sqlite")


@pytest.mark.parametrize(("kind", "texts"), [("every", 20), ("half", 10)])
def test_a_paraphrase_rewrites_its_share_of_sentences(tmp_path, monkeypatch, kind, texts):
    Fake(monkeypatch, "PARAPHRASERS")
    (plan,) = make_plans(paraphrase=kind, paraphraser="fake")
    made, changed = work(plan, rows(), tmp_path / "c.sqlite")
    assert made.record()["texts"]["asked"] == texts
    for old, new in zip(rows(), changed, strict=True):
        count, total = new["text"].count("«"), len(split_sentences(old["text"]))
        assert new["text"].replace("«", "").replace("»", "") == old["text"]
        assert (new["model"] == "chatGPT+paraphrase") == (count > 0) and new["lang"] == old["lang"]
        if kind == "half" and count:
            assert 0.5 * total <= count <= total
    assert work(plan, rows(), tmp_path / "d.sqlite")[1] == changed


def test_a_paraphrase_keeps_the_sentences_that_failed(tmp_path, monkeypatch):
    fake = Fake(monkeypatch, "PARAPHRASERS")
    fake.fail = lambda piece: RewriteError(rewriters.SAME) if "delve" in piece else None
    (plan,) = make_plans(paraphrase="half", paraphraser="fake")
    made, changed = work(plan, rows(), tmp_path / "c.sqlite")
    assert made.record()["pieces"]["failed"] and made.record()["texts"]["done"]
    for row in changed:
        assert all("delve" not in part.partition("»")[0] for part in row["text"].split("«")[1:])


# --- back-ends


def spm(prefix: Path, **options) -> sentencepiece.SentencePieceProcessor:
    """A SentencePiece model of about 90 pieces, written to `prefix`.model."""
    text = [*SENTENCES, *(row["text"] for row in make_rows(8))]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_prefix=str(prefix), vocab_size=150, hard_vocab_limit=False,
        minloglevel=2, num_threads=1, **options,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")


@pytest.fixture(scope="module")
def marian_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Marian model with the files of a published one."""
    folder = tmp_path_factory.mktemp("models") / "opus-mt-tiny"
    folder.mkdir()
    pieces = spm(folder / "source")
    (folder / "source.model").rename(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    names = ["</s>", "<unk>", *(pieces.id_to_piece(index) for index in range(3, len(pieces))), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({name: index for index, name in enumerate(names)}))
    paths = [str(folder / name) for name in ("source.spm", "target.spm", "vocab.json")]
    with pytest.warns(UserWarning, match="sacremoses") if not _installed("sacremoses") else _nothing():
        MarianTokenizer(*paths, source_lang="en", target_lang="ru").save_pretrained(folder)
    torch.manual_seed(0)
    pad = len(names) - 1
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    model = MarianMTModel(
        MarianConfig(
            vocab_size=len(names), d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=48,
            eos_token_id=0, pad_token_id=pad, decoder_start_token_id=pad, forced_eos_token_id=None, init_std=1.0, **sizes,
        )
    )  # fmt: skip
    model.generation_config.update(bad_words_ids=[[pad]], **ENDING)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random T5 model with the files of a published one."""
    folder = tmp_path_factory.mktemp("models") / "t5-tiny"
    folder.mkdir()
    pieces = spm(folder / "spiece", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(pieces), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, initializer_factor=10.0,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    model.generation_config.update(**ENDING)
    model.save_pretrained(folder)
    return folder


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def _nothing():
    import contextlib

    return contextlib.nullcontext()


PIECES = ["The quick brown fox jumps.", "delve!"]


@pytest.mark.filterwarnings("ignore:Recommended")
@pytest.mark.parametrize("name", ["marian", "t5"])
def test_a_model_answers_each_piece_alike_in_any_company(request, name):
    folder = request.getfixturevalue(f"{name}_folder")
    backend = getattr(rewriters, name)(str(folder))
    answers = backend.rewrite(PIECES)
    assert all(isinstance(answer, str) and answer for answer in answers)
    assert [backend.rewrite([piece])[0] for piece in PIECES] == answers
    assert backend.fits("the rain") and not backend.fits("the rain " * 200)
    assert folder.as_posix() not in json.dumps([backend.model, backend.settings])
    assert backend.settings["weights"] == getattr(rewriters, name)(str(folder)).settings["weights"]


@pytest.mark.filterwarnings("ignore:Recommended")
def test_no_token_of_a_long_text_is_lost_on_the_way_to_the_model(marian_folder, monkeypatch, tmp_path):
    seen: list[int] = []
    generate = MarianMTModel.generate
    monkeypatch.setattr(
        MarianMTModel,
        "generate",
        lambda self, **given: seen.append(int(given["attention_mask"].sum())) or generate(self, **given),
    )
    text = " ".join(["furthermore the rain was robust"] * 60) + "."
    row = {"id": "1", "label": 1, "lang": "en", "role": "train", "text": text, "model": "x"}
    plan = replace(TRANSLATE, texts=1.0, model=str(marian_folder))
    made, (changed,) = work(plan, [row], tmp_path / "c.sqlite")
    tokenizer = MarianTokenizer.from_pretrained(marian_folder)
    pieces = list(made._pieces(row))
    assert " ".join(pieces) == text and len(pieces) > 1
    assert sum(seen) == sum(len(tokenizer(piece)["input_ids"]) for piece in dict.fromkeys(pieces))
    assert max(len(tokenizer(piece)["input_ids"]) for piece in pieces) <= 48
    assert changed["lang"] == "ru" and "furthermore" not in changed["text"]


@pytest.mark.filterwarnings("ignore:Recommended")
def test_an_answer_that_does_not_end_is_no_answer(marian_folder, tmp_path):
    endless = tmp_path / "endless"
    endless.mkdir()
    for file in marian_folder.iterdir():
        (endless / file.name).write_bytes(file.read_bytes())
    settings = json.loads((endless / "generation_config.json").read_text())
    del settings["exponential_decay_length_penalty"]
    settings["bad_words_ids"] += [[0]]
    (endless / "generation_config.json").write_text(json.dumps(settings))
    (answer,) = rewriters.marian(str(endless)).rewrite(PIECES[:1])
    assert isinstance(answer, RewriteError) and str(answer) == rewriters.ENDLESS


def test_the_best_candidate_in_other_words_is_chosen():
    assert choose("A dog.", [None, "", "a dog", "The dog"], other_words=True) == "The dog"
    assert choose("A dog.", ["a dog"], other_words=False) == "a dog"
    for candidates, reason in (["a dog"], rewriters.SAME), (["", None], rewriters.EMPTY), ([None], rewriters.ENDLESS):
        assert str(choose("A dog.", candidates, other_words=True)) == reason


def test_a_missing_model_is_said_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match="'marian' cannot load the model 'nobody/nothing'"):
        rewriters.marian("nobody/nothing")
    with pytest.raises(ValueError, match=r"'t5' cannot load the model '.*empty'"):
        (tmp_path / "empty").mkdir()
        rewriters.t5(str(tmp_path / "empty"))


def test_patience_doubles_and_ends():
    pauses: list[float] = []
    answers = iter([ConnectionError(), TimeoutError(), "да"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(call, tries=5, wait=2.0, sleep=pauses.append) == "да"
    assert pauses == [2.0, 4.0]
    answers = iter([ConnectionError()] * 3)
    with pytest.raises(RewriteError, match="3 tries failed, the last with ConnectionError"):
        patiently(call, tries=3, wait=0.0, sleep=pauses.append)


def test_a_hanging_call_is_left_alone():
    import threading

    stop = threading.Event()
    with pytest.raises(TimeoutError, match=r"0\.05 seconds"):
        within(0.05, lambda text: str(stop.wait(5)), "x")
    stop.set()
    assert within(5, str.upper, "x") == "X"
    with pytest.raises(AttributeError):
        within(5, lambda text: text.nothing, "x")


def test_google_asks_line_by_line_within_its_limit_and_survives_empty_answers(monkeypatch, tmp_path):
    deep_translator = pytest.importorskip(
        "deep_translator", reason="deep-translator (extra 'augment') is not installed"
    )
    asked: list[str] = []

    def translate(self: object, text: str) -> str | None:
        asked.append(text)
        return None if "empty" in text else text.upper()

    monkeypatch.setattr(deep_translator.GoogleTranslator, "translate", translate)
    text = "One. Two! 3.\n\n" + "Many words, again. " * 200 + "\nLast."
    data = [{"id": "1", "label": 1, "lang": "en", "role": "train", "text": text, "model": "x"}]
    data.append(data[0] | {"id": "2", "text": "This is empty. This is not."})
    made, changed = work(replace(TRANSLATE, backend="google", texts=1.0), data, tmp_path / "c.sqlite")
    assert changed[0]["text"] == text.upper() and changed[1] == data[1]
    assert all(len(piece) <= rewriters.GOOGLE_CHARACTERS and "\n" not in piece for piece in asked)
    assert len(asked) < 8 and made.record()["failed"] == {rewriters.EMPTY: 1}
    with pytest.raises(ValueError, match="no models to choose from"):
        rewriters.google("x")


# --- the dataset, the command, the recipe


@pytest.mark.filterwarnings("ignore:Recommended")
def test_a_dataset_records_what_was_done_to_it(tmp_path, tokenizer, marian_folder, monkeypatch):
    Fake(monkeypatch, "PARAPHRASERS")
    file = write_jsonl(tmp_path / "train.jsonl", [row | {"lang": "en"} for row in make_rows(60, words=(8, 16))])
    plans = make_plans(translate=0.5, translation_model=str(marian_folder), paraphrase="half", paraphraser="fake")
    plain = build_dataset(file, tokenizer, tmp_path / "plain", progress=False)
    kept = tmp_path / "c.sqlite"
    folders = [
        build_dataset(file, tokenizer, tmp_path / name, progress=False, augment=plans, rewrites=kept) for name in "ab"
    ]
    manifest, again = (json.loads((folder / "manifest.json").read_text()) for folder in folders)
    assert manifest == again
    assert json.loads((plain / "manifest.json").read_text())["augmentation"] == []
    paraphrase, translation = manifest["augmentation"]
    machine = translation["machine_texts"]["en"]
    assert translation["texts"]["asked"] == translation["texts"]["done"] == (machine + 1) // 2
    assert (translation["plan"]["texts"], paraphrase["plan"]["method"]) == (0.5, "paraphrase")
    assert tmp_path.as_posix() not in json.dumps(manifest)
    before, after = (load_dataset(str(folder), "documents") for folder in (plain, folders[0]))
    for split in before:
        assert split == "train" or before[split].to_list() == after[split].to_list()
    changed = 0
    for old, new in zip(before["train"], after["train"], strict=True):
        assert (old["id"], old["pair"], old["label"]) == (new["id"], new["pair"], new["label"])
        assert old["label"] == 1 or old == new
        changed += new["model"].endswith("+translation")
        assert (new["lang"] == "ru") == new["model"].endswith("+translation")
        assert new["original"] == (None if new["text"] == old["text"] else old["text"])
    assert changed == (machine + 1) // 2
    seen = set(dataset_texts(folders[0]))  # who learnt from a translation has seen its original
    assert {row["text"] for name in ("train", "choose") for row in before[name]} < seen
    assert {row["text"] for row in after["train"]} < seen
    segments = load_dataset(str(folders[0]))["train"]
    assert {"chatGPT+translation", "chatGPT+paraphrase+translation"} <= set(segments["model"])
    assert {path.name for path in (plain / "documents").iterdir()}.isdisjoint(
        path.name for path in (folders[0] / "documents").iterdir()
    )


def test_the_command_says_what_happened_and_what_is_missing(tmp_path, tokenizer, monkeypatch, capsys):
    fake = Fake(monkeypatch)
    fake.fail = lambda piece: "" if "delve" in piece else None
    tokenizer.save_pretrained(tmp_path / "tok")
    file = write_jsonl(tmp_path / "train.jsonl", [row | {"lang": "en"} for row in make_rows(80, words=(3, 12))])
    given = ["semeval", "--train", str(file), "--tokenizer", str(tmp_path / "tok"), "--rewrites", str(tmp_path / "c")]
    assert command_line.main([*given, "--out", str(tmp_path / "a"), "--translate", "0.5", "--translator", "fake"]) == 0
    said = capsys.readouterr().out
    assert "Translation by fake (fake/1):" in said and "because the answer is empty" in said
    missing = ["--translate", "0.5", "--translation-model", "nobody/nothing"]
    assert command_line.main([*given, "--out", str(tmp_path / "b"), *missing]) == 1
    assert "cannot load the model 'nobody/nothing'" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "b").exists() and not list(tmp_path.glob("b.unfinished*"))
    assert command_line.main([*given, "--out", str(tmp_path / "b"), "--translate", "50"]) == 1


def test_a_recipe_augments_its_own_data_and_refuses_a_folder_made_otherwise(tmp_path, backbone_folder, monkeypatch):
    Fake(monkeypatch)
    file = write_jsonl(tmp_path / "train.jsonl", [row | {"lang": "en"} for row in make_rows(80)])
    given = [
        "--backbone", str(backbone_folder), "--head_widths", "8", "--core_tokens", "32", "--context_tokens", "8",
        "--use_cpu", "True", "--disable_tqdm", "True", "--max_steps", "1", "--save_strategy", "no",
        "--translator", "fake", "--rewrites", str(tmp_path / "c.sqlite"),
    ]  # fmt: skip
    train.main([*given, "--train_file", str(file), "--translate", "0.25", "--output_dir", str(tmp_path / "run")])
    manifest = json.loads((tmp_path / "run" / "data" / "manifest.json").read_text())
    assert manifest["augmentation"][0]["texts"]["asked"] == round(
        manifest["augmentation"][0]["machine_texts"]["en"] / 4
    )
    built = ["--dataset", str(tmp_path / "run" / "data"), "--output_dir", str(tmp_path / "other")]
    with pytest.raises(ValueError, match="built with augmentation"):
        train.main([*given, *built, "--translate", "0.5"])
    with pytest.raises(ValueError, match="between 0 and 1"):
        train.main([*given, *built, "--translate", "25"])
