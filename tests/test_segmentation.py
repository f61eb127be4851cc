"""Segments tile: tokens by the article's formula, characters of the original without gap or overlap."""

import json

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mvh import segmentation_mvh
from mvh.segmentation_mvh import iter_segments, segment_text, special_token_ids, token_windows, tokenize_document

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
        assert content == ids[index * 32 - context : index * 32 + 32].tolist()
        assert segment.core_tokens == len(content) - context
        rebuilt += content[context:]
    assert rebuilt == ids.tolist()


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


def byte_level(add_prefix_space=False):
    """A byte-level BPE tokenizer as GPT-2's, or as some of RoBERTa's kind with a space before the first word."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    raw.train_from_iterator(SENTENCES + [make_text(0, 400, seed=5)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>")


def mdeberta_like():
    """A Unigram tokenizer whose normaliser strips both ends, as mDeBERTa's: a block must not look like a text of its own."""
    made = sentencepiece_like()
    steps = [normalizers.Strip(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    made.backend_tokenizer.normalizer = normalizers.Sequence(steps)
    return made


def prefixed_bpe():
    """BPE over the whole text with marks for spaces, as Llama's: no words, and a mark of its own at every beginning."""
    raw = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"])
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # for training only
    raw.train_from_iterator(SENTENCES + [make_text(0, 400, seed=5)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=without_words(raw), unk_token="<unk>", pad_token="<unk>")


def without_words(raw):
    """The tokenizer with no step that splits a text into words."""
    described = json.loads(raw.to_str())
    described["pre_tokenizer"] = None
    return Tokenizer.from_str(json.dumps(described))


MADE = {
    "sentencepiece": sentencepiece_like,
    "mdeberta": mdeberta_like,
    "byte-level": byte_level,
    "byte-level with prefix": lambda: byte_level(add_prefix_space=True),
    "no words": prefixed_bpe,
}


def test_runs_that_the_tokenizer_does_not_know_are_counted(tokenizer):
    words = make_text(0, 300, seed=3)
    assert sum(segment.unread for segment in segment_text(words, tokenizer)) == 0
    glued = "".join(filter(str.isalpha, words))[:600]  # one word of letters to WordPiece, which knows none so long
    segments = segment_text(f"{words} {glued} {words}", tokenizer, 64, 16)
    assert 600 <= sum(segment.unread for segment in segments) <= 602
    assert sum(segment.unread > 0 for segment in segments) == 1, "the context of the next segment counts it again"


@pytest.fixture(scope="module", params=["wordpiece", *MADE])
def made(request, tokenizer):
    """Tokenizers of every kind, by name."""
    return request.param, tokenizer if request.param == "wordpiece" else MADE[request.param]()


def test_every_kind_of_tokenizer(made):
    """The spans tile, also where one character is many tokens."""
    text = " ".join([*SENTENCES, make_text(0, 300, seed=3)])
    starts = tokenize_document(text, made[1])[1].tolist()
    assert starts == sorted(starts)
    segments = segment_text(text, made[1], core_tokens=16, context_tokens=4)
    assert "".join(text[s.start : s.end] for s in segments) == text


NASTY = {
    "words": make_text(0, 400, seed=3),
    "mixed scripts": " ".join([*SENTENCES, make_text(1, 60, seed=4)] * 6),
    "chinese without spaces": SENTENCES[1] * 60,
    "no place to cut": "a" * 900,
    "runs of blanks": "rain  dog \t street\n\n kitchen   .  " * 40,
    "joined and marked": "do n't 3.141592653589793 e\u0301a\u0300 \u0301 x\u200b y\u00a0z (a)[b]{c} " * 20,
    "special tokens": "rain [SEP] <s> </s> [MASK] <unk> dog " * 30,
    "emoji": "👩‍👩‍👧‍👦 🦊🦊 ok " * 60,
    "digits": "1234567890 " * 60 + "1234567890" * 40,
    "right to left": SENTENCES[2] * 20 + "\u0600 12 " * 20,
}


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("size", [40, 97, 256])
def test_blocks_give_the_tokens_of_one_call(made, name, size, monkeypatch):
    """Ids and first characters are equal whatever the blocks, on texts that were made to break this."""
    whole = tokenize_document(NASTY[name], made[1])
    monkeypatch.setattr(segmentation_mvh, "BLOCK_CHARACTERS", size)
    for one, blocks in zip(whole, tokenize_document(NASTY[name], made[1]), strict=True):
        assert blocks.tolist() == one.tolist()


def test_blocks_are_short_where_words_can_be_told_apart(made, monkeypatch):
    monkeypatch.setattr(segmentation_mvh, "BLOCK_CHARACTERS", 100)
    kind, reader = made
    for name in ("words", "chinese without spaces"):
        longest = max(end - begin for begin, end in segmentation_mvh._blocks(NASTY[name], reader))
        if kind == "no words":
            assert longest == len(NASTY[name]), "equality cannot be had: one call"
        elif name == "words" or kind == "wordpiece":
            assert longest < 200


def test_segments_come_as_they_are_asked_for(tokenizer, monkeypatch):
    built = []
    monkeypatch.setattr(segmentation_mvh, "Segment", lambda **fields: built.append(fields) or fields)
    segments = iter_segments(make_text(0, 400, seed=1), tokenizer, 16, 4)
    next(segments), next(segments)
    assert len(built) == 2
    assert sum(1 for _ in segments) > 20


def test_nothing_to_read_is_an_error(tokenizer):
    with pytest.raises(ValueError, match="none is left to read"):
        segment_text("\u200b\u200b \n", tokenizer)


def test_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="no fast tokenizer"):
        tokenize_document("text", Slow())
