"""Segments tile: tokens by the article's formula, characters of the original without gap or overlap."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mvh import segmentation_mvh
from mvh.segmentation_mvh import segment_text, special_token_ids, token_windows, tokenize_document

from .conftest import SENTENCES, make_text


@pytest.mark.parametrize("n", [1, 2, 49, 50, 51, 255, 256, 257, 306, 512, 513, 5000])
def test_windows_follow_the_article(n):
    windows = token_windows(n)
    assert len(windows) == (n - 1) // 256 + 1
    assert windows[0][:2] == (0, 0)
    for j, window in enumerate(windows[1:], start=2):
        assert window == ((j - 1) * 256 - 50, (j - 1) * 256, min(j * 256, n))
    assert [w.core_start for w in windows[1:]] == [w.end for w in windows[:-1]], "cores leave a gap or overlap"
    assert windows[-1].end == n


def test_windows_refuse_impossible_sizes():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        token_windows(0)
    with pytest.raises(ValueError, match=r"got 300 with a core of 256"):
        token_windows(10, 256, 300)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_spans_tile_the_original_in_every_script(tokenizer, sentence):
    text = "  " + " \n".join([sentence] * 12) + "\u200b "
    segments = segment_text(text, tokenizer, core_tokens=16, context_tokens=4)
    assert len(segments) > 3
    assert segments[0].start == 0 and segments[-1].end == len(text)
    assert all(a.end == b.start for a, b in zip(segments, segments[1:], strict=False))
    assert "".join(text[s.start : s.end] for s in segments) == text


def test_segments_show_context_and_core(tokenizer):
    text = make_text(0, 200, seed=1)
    ids, _ = tokenize_document(segmentation_mvh.normalize(text).text, tokenizer)
    segments = segment_text(text, tokenizer, core_tokens=32, context_tokens=8)
    prefix, suffix = special_token_ids(tokenizer)
    assert prefix == [tokenizer.cls_token_id] and suffix == [tokenizer.sep_token_id]
    rebuilt = []
    for index, segment in enumerate(segments):
        content = segment.input_ids[1:-1]
        context = 0 if index == 0 else 8
        assert content == ids[index * 32 - context : index * 32 + 32]
        assert segment.core_tokens == len(content) - context
        rebuilt += content[context:]
    assert rebuilt == ids


def test_segment_text_reads_back_to_its_own_tokens(tokenizer):
    for segment in segment_text(make_text(1, 150, seed=2), tokenizer, core_tokens=32, context_tokens=8):
        assert tokenizer(segment.text)["input_ids"] == segment.input_ids


def sentencepiece_like():
    """A Unigram tokenizer with the Metaspace marks of XLM-R, mDeBERTa and T5."""
    raw = Tokenizer(models.Unigram())
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>")
    raw.train_from_iterator(SENTENCES + [make_text(0, 400, seed=5)], trainer)
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", pad_token="</s>")


def byte_level():
    """A byte-level BPE tokenizer as RoBERTa's, without special tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    raw.train_from_iterator(SENTENCES + [make_text(0, 400, seed=5)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>")


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece", "byte-level"])
def test_every_kind_of_tokenizer(kind, tokenizer, monkeypatch):
    """Cutting the text into blocks changes no id, and the spans tile, also where one character is many tokens."""
    made = {"wordpiece": lambda: tokenizer, "sentencepiece": sentencepiece_like, "byte-level": byte_level}[kind]()
    text = " ".join([*SENTENCES, make_text(0, 300, seed=3)])
    ids, starts = tokenize_document(text, made)
    assert starts == sorted(starts)
    segments = segment_text(text, made, core_tokens=16, context_tokens=4)
    assert "".join(text[s.start : s.end] for s in segments) == text
    monkeypatch.setattr(segmentation_mvh, "BLOCK_CHARACTERS", 100)
    assert tokenize_document(text, made)[0] == ids
    if kind == "wordpiece":
        assert tokenize_document(text, made)[1] == starts


def test_nothing_to_read_is_an_error(tokenizer):
    with pytest.raises(ValueError, match="none is left to read"):
        segment_text("\u200b\u200b \n", tokenizer)


def test_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="no fast tokenizer"):
        tokenize_document("text", Slow())
