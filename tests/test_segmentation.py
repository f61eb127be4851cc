"""Segments tile: tokens by the article's formula, characters of the original without gap or overlap."""

import pytest

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


def test_blocks_change_nothing(tokenizer, monkeypatch):
    text = " ".join(SENTENCES[:1] + [make_text(0, 300, seed=3)])
    whole = tokenize_document(text, tokenizer)
    monkeypatch.setattr(segmentation_mvh, "BLOCK_CHARACTERS", 100)
    assert tokenize_document(text, tokenizer) == whole


def test_nothing_to_read_is_an_error(tokenizer):
    with pytest.raises(ValueError, match="none is left to read"):
        segment_text("\u200b\u200b \n", tokenizer)


def test_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="no fast tokenizer"):
        tokenize_document("text", Slow())
