"""The HTML report: everything escaped, nothing lost, nothing loaded; words, many documents, notebooks."""

import base64
import hashlib
import json
import pickle
import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvh.report import ReportDocument, render, write_report
from mvh.report.text import blocks
from mvh.report.words import (
    MACHINES,
    at_most_in_words,
    batch_sentences,
    in_words,
    letter,
    natural_frequency,
    p_in_words,
    p_text,
    passages_promise,
    verdict,
)
from mvh.report.words import settings as words_settings
from mvh.voting_mvh import screen

from .conftest import make_text

VOID = {"meta", "br", "path", "rect", "line", "circle"}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}&lt;<!--\u202e</title></style></bdi>"
ARABIC = "كان الجو جميلاً في ذلك اليوم، وخرج الناس إلى الشوارع.\nوفي المساء عاد الجميع.\n"
CHINESE = "今天天气很好，我们去公园散步。👩‍👩‍👧‍👦🦊\n\n公园里有很多人。"


class Page(HTMLParser):
    """What a browser makes of the page: its elements, what the text blocks say, what each passage says."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.passages, self.said, self.style = [], "", {}, "", ""
        self.open = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "style":
            self.style += data
            return
        self.said += data
        classes = {name for _, attrs in self.open for name in (attrs.get("class") or "").split()}
        if "block" in classes and not classes & {"tag", "note", "seg"}:
            self.text += data
            for _, attrs in self.open:
                if "data-passage" in attrs:
                    number = int(attrs["data-passage"])
                    self.passages[number] = self.passages.get(number, "") + data

    def shape(self):
        """Tags with the names of their attributes, in order: what no text may change."""
        return [(tag, sorted(attrs)) for tag, attrs in self.elements]


def result_of(text, spans=(), size=300, **changes):
    """A result with segments of `size` characters, the passages given and the segments under them flagged."""
    segments = []
    for start in range(0, len(text), size):
        end = min(start + size, len(text))
        flagged = any(low < end and start < high for low, high in spans)
        p = 0.004 if flagged else 0.6
        segments.append(
            {"start": start, "end": end, "label": "machine" if flagged else "human", "score": 0.9 if flagged else 0.1}
            | {"margin": 2.2 if flagged else -2.2, "p_value": p / 2, "adjusted_p_value": p}
        )
    result = {
        "label": "machine", "score": 0.9, "margin": 2.2, "p_value": 0.0274, "positive_share": 0.5, "segments": segments,
        "passages": [{"start": low, "end": high, "score": 0.9, "adjusted_p_value": 0.004} for low, high in spans],
        "alpha": 0.05, "correction": "bh", "vote": "calibrated", "p_values": "conformal", "confidence": None,
        "calibration": {
            "group": "latin, 257 tokens or more", "documents": 145, "smallest_p_value": 1 / 146,
            "false_alarm_rate_90": [0.0229, 0.08],
            "segment_documents": 685, "segment_documents_needed": 59,
        },
        "warnings": [],
        "model": {"name": "toy", "revision": None, "calibration": "abc", "dtype": "float32", "version": "0.1.0"},
    }  # fmt: skip
    return result | changes


def unread(kind="ValueError", message="The text is blank: 3 characters and none to read."):
    names = ("label", "score", "margin", "p_value", "positive_share", "alpha", "correction", "vote", "p_values")
    empty = dict.fromkeys((*names, "confidence", "calibration"))
    model = {"name": "toy", "revision": None}
    rest = {"segments": [], "passages": [], "warnings": [], "model": model, "error": {"type": kind, "message": message}}
    return empty | rest


def hostile(word):
    """Documents with the same word everywhere where something from outside is shown."""
    text = f"{word} \n" * 12
    result = result_of(text, [(20, 320)], size=100, warnings=[word])
    pages = [(1, 0, 200), (2, 200, len(text))]
    result["model"] = dict.fromkeys(result["model"], word)
    result["calibration"] = result["calibration"] | {"group": word, "sources": [word]}
    other = result_of(text, [(20, 320)], size=100, label=word, correction=word, vote="any", p_values=word)
    other["segments"] = [segment | {"label": word} for segment in other["segments"]]
    return [
        ReportDocument(word, text, result, pages, notes=[word], read=[(word, word)]),
        ReportDocument(word, text, other),
        ReportDocument(word, word, unread(word, word)),
    ]


def test_no_text_from_outside_changes_the_page():
    """Markup in text, names, labels, warnings, model or error: the page has the elements it has with harmless words."""
    for number in range(3):
        evil, harmless = (Page(render([hostile(w)[number]])) for w in (EVIL, "x" * len(EVIL)))
        assert evil.shape() == harmless.shape()
        assert EVIL in evil.said
    evil, harmless = (Page(render(hostile(word), unread=[(word, word)])) for word in (EVIL, "x" * len(EVIL)))
    assert evil.shape() == harmless.shape()
    assert "{{7*7}}" in evil.said and "49" not in evil.said


def test_the_page_loads_nothing_and_runs_nothing():
    page = render(hostile(EVIL))
    parsed = Page(page)
    for tag, attrs in parsed.elements:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
        assert not {name for name in attrs if name.startswith("on") or name in ("src", "srcset", "style", "action")}
        assert attrs.get("href", "#").startswith("#")
    assert not re.search(r"https?://|@import|url\(", page)
    policy = next(attrs["content"] for _, attrs in parsed.elements if "Policy" in attrs.get("http-equiv", ""))
    allowed = base64.b64encode(hashlib.sha256(parsed.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"


@pytest.mark.parametrize(
    "text",
    [
        ARABIC * 20,
        CHINESE * 40,
        "  edges \r\n\t kept  \r lone\n\n\n" * 30,
        make_text(1, 6_000, 1),  # one line, longer than a block may be
        "x" * 30_000,  # and without a space
        "\n" * 500,
    ],
    ids=["arabic", "chinese", "whitespace", "one line", "one word", "blank lines"],
)
def test_the_text_comes_back_whole(text):
    """Rebuilt from the page the text is the text, each passage is text[start:end]; also where pages cut it."""
    third = len(text) // 3
    result = result_of(text, [(third - 50, third + 90), (2 * third, len(text))])
    for pages in ([], [(1, 0, third), (2, third + 1, 2 * third), (3, 2 * third + 2, len(text))]):
        page = Page(render([ReportDocument("a", text, result, pages)]))
        assert page.text == text
        assert page.passages == {n: text[p["start"] : p["end"]] for n, p in enumerate(result["passages"], 1)}
        assert [f"page {n}" in page.said for n in (1, 2, 3)] == [bool(pages)] * 3


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.lists(st.integers(0, 200), max_size=8, unique=True), st.integers(1, 50))
def test_blocks_keep_every_character(text, cuts, size):
    inside = sorted(cut for cut in cuts if cut < len(text))
    spans = list(zip(inside[::2], inside[1::2], strict=False))
    pages = [(number, cut, cut) for number, cut in enumerate(inside[1:4], 1)]
    cut = blocks(text, result_of(text, spans, size), pages)
    assert "".join(run.text for block in cut for part in block.parts for run in part.runs) == text
    marked = [part for block in cut for part in block.parts if part.passage]
    assert (
        [p.passage for p in marked if p.first] == [p.passage for p in marked if p.last] == [*range(1, len(spans) + 1)]
    )
    assert all((run.shade > 0) == (part.passage is not None) for b in cut for part in b.parts for run in part.runs)


def test_what_html_cannot_hold_is_shown_as_replaced(tmp_path):
    text = "null \0 and half a pair \ud83d here. " * 20
    write_report(tmp_path / "r.html", [ReportDocument("\ud83d\0", text, result_of(text, [(10, 100)]))])
    page = Page((tmp_path / "r.html").read_bytes().decode("utf-8"))
    assert page.text == text.replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\ud83d", "\N{REPLACEMENT CHARACTER}")


def test_right_to_left_and_chinese_text_is_left_to_the_browser():
    page = Page(render([ReportDocument("مقال.txt", ARABIC * 9, result_of(ARABIC * 9, [(5, 60)]))]))
    found = [attrs for tag, attrs in page.elements if attrs.get("class") == "block"]
    assert found and all(attrs["dir"] == "auto" and attrs["lang"] == "" for attrs in found)
    assert "unicode-bidi:plaintext" in page.style


def test_five_hundred_pages_in_seconds(tmp_path):
    text = (make_text(1, 180, 3) + "\n\n") * 1_400
    text = text[:1_500_000].ljust(1_500_000, ".")
    spans = [(start, start + 2_500) for start in range(10_000, 1_490_000, 10_000)]
    pages = [(number + 1, number * 3_000, number * 3_000 + 3_000) for number in range(500)]
    result = result_of(text, spans, 1_200)
    began = time.perf_counter()
    write_report(tmp_path / "r.html", [ReportDocument("thesis.pdf", text, result, pages)])
    assert time.perf_counter() - began < 10
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert page.text == text and "page 500" in page.said and "All 148 passages" in page.said
    assert "content-visibility:auto" in page.style


def test_a_flagged_text_says_how_often_that_is_wrong():
    text = make_text(1, 300, 4)
    said = Page(render([ReportDocument("a.txt", text, result_of(text, [(0, len(text))]))])).said
    for words in (
        "Looks machine-generated",
        "About 3 in 100 human texts of the same kind look at least as machine-like",
        "at most 5 in 100 human texts of this kind are flagged wrongly",
        "145 texts that people are known to have written (group: latin, 257 tokens or more)",
        "between 2.3 and 8.0 in 100",
        "never a proof",
        "measured, not promised",
        "It is not the probability that a person wrote the text",
        "If you wrote this text",
        "Your text was compared with 145 texts that people wrote.",
    ):
        assert words in said


def test_the_words_follow_the_rule_at_work():
    text = make_text(0, 300, 5)
    human = result_of(text, label="human", p_value=0.6)
    assert verdict(human).headline == "Nothing unusual found" and letter(
        human
    )  # the page offers it to flagged texts only
    assert "Words for the author" not in Page(render([ReportDocument("a", text, human)])).said
    mixed = result_of(text, [(0, 300)], label="human", p_value=0.6)
    assert verdict(mixed).headline == "Nothing unusual as a whole, but 1 passage stands out"
    sure = verdict(result_of(text, confidence=0.95))
    assert "no more than 3 in 100" in sure.meaning and "With confidence 95%" in sure.error_rate
    voted = verdict(result_of(text, [(0, 300)], vote="majority"))
    assert voted.kind == "flagged" and "no false-alarm rate is promised" in voted.error_rate
    bare = result_of(text, [(0, 300)], vote="majority", p_value=None, calibration=None)
    assert "not known" in verdict(bare).error_rate and not letter(bare)
    promised = result_of(text, [(0, 300)], correction="calibrated")
    assert (
        "chance that anything is marked is at most 5 in 100" in Page(render([ReportDocument("a", text, promised)])).said
    )


def test_another_task_is_not_said_to_be_about_machines():
    text = make_text(1, 300, 12)
    result = result_of(text, [(0, 300)], label="toxic", warnings=[])
    for segment in result["segments"]:
        segment["label"] = "toxic" if segment["label"] == "machine" else "neutral"
    assert verdict(result).headline == "Flagged as “toxic”"
    for changed in (result, result | {"label": "uncertain"}, result | {"label": "neutral", "p_value": 0.5}):
        said = Page(render([ReportDocument("a", "x" * len(text), changed)] * 2, prevalence=0.1)).said
        assert not re.search(r"\b(human|machine|machine-like)\b", said.casefold()), changed["label"]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0274, "3 in 100"),
        (0.015, "15 in 1,000"),
        (0.00437, "4 in 1,000"),
        (0.00146, "15 in 10,000"),
        (0.58, "58 in 100"),
        (1.0, "100 in 100"),
    ],
)
def test_shares_in_whole_numbers(share, words):
    assert in_words(share) == words
    count, of = natural_frequency(share, 0.005)
    assert count / of == pytest.approx(share, rel=0.005)


def stated(words):
    """The share that words like "3 in 100" state."""
    count, of = (int(number.replace(",", "")) for number in words.split(" in "))
    return count / of


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-9, 1), st.sampled_from([0.001, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5]))
def test_no_p_value_reads_as_smaller_than_it_is(p_value, alpha):
    """So "no more than" is true, and a p-value above alpha never reads as alpha."""
    for known in (p_value, alpha, alpha + 1e-6, alpha * 1.098):
        for words in (p_in_words(known), at_most_in_words(known)):
            assert stated(words) >= known * (1 - 1e-9)
            assert stated(words) <= 1.1 * known + 1 / 100_000
        assert p_text(known) == "< 0.0001" or float(p_text(known)) >= known * (1 - 1e-9)
        assert known <= alpha or stated(p_in_words(known)) > stated(at_most_in_words(alpha)) == alpha


@pytest.mark.parametrize(
    ("p_value", "words", "dots"),
    [(0.0109, "11 in 1,000", "11 (large"), (0.0549, "6 in 100", "6 (large"), (0.07, "7 in 100", "7 (large")],
)
def test_a_bound_is_rounded_up_wherever_it_is_said(p_value, words, dots):
    basis = result_of("x" * 900)["calibration"]
    for changed in ({"sources": ["essays", "posts"]}, {"parts": 5}, {}):
        result = result_of(
            "x" * 900, p_value=p_value, calibration=basis | changed, confidence=None if changed else 0.95
        )
        assert f"no more than {words} human texts" in verdict(result).meaning
        assert f"ore than {words} " in letter(result)
        assert f"presumably at most {dots}" in Page(render([ReportDocument("a", "x" * 900, result)])).said


def test_a_text_judged_by_parts_says_so_and_that_its_p_value_is_a_bound():
    basis = result_of("x" * 900)["calibration"] | {"parts": 5, "false_alarm_rate_90": [0.0, 0.088]}
    result = result_of("x" * 900, calibration=basis)
    said = verdict(result)
    assert said.meaning.startswith("Presumably no more than 3 in 100")
    assert "compared 5 parts of this text, each by itself, with 145 texts" in said.error_rate
    assert "if parts of long ones score like whole ones. The program" in said.error_rate
    assert "so 5 parts of it were, each by itself, with 145 texts" in letter(result)
    assert "presumably no more than 3 in 100 human texts look" in letter(result)
    assert "presumably at most 3 (large dots)" in Page(render([ReportDocument("a", "x" * 900, result)])).said
    calibrated = passages_promise(result | {"correction": "calibrated"})
    assert calibrated.startswith("In a text that is human throughout") and "if parts of long ones score" in calibrated


def test_a_text_compared_with_several_sources_says_so_and_that_its_p_value_is_a_bound():
    basis = result_of("x" * 900)["calibration"] | {"sources": ["essays", "posts"], "false_alarm_rate_90": [0.0, 0.09]}
    result = result_of("x" * 900, calibration=basis)
    said = verdict(result)
    assert said.meaning.startswith("Presumably no more than 3 in 100")
    kinds = "of each of these kinds (group: latin, 257 tokens or more; sources: essays, posts)"
    assert f"compared this text with at least 145 texts {MACHINES.known} {kinds}" in said.error_rate
    assert f"at least 145 texts {MACHINES.known} {kinds}" in verdict(result | {"vote": "any"}).error_rate
    assert "compared with at least 145 texts that people wrote of each of 3 kinds." in letter(result)
    assert "In none of them do more than 3 in 100 look at least as machine-like" in letter(result)
    assert "set so that at most 5 in 100 people" in letter(result)
    assert "set so that about 5 in 100 people" in letter(result_of("x" * 900))
    rows = dict(words_settings(result, 900, []))
    assert rows["And with each of the sources"] == "essays, posts"
    alone = dict(words_settings(result_of("x" * 900), 900, []))
    assert "And with each of the sources" not in alone and alone["Compared with"] == rows["Compared with"]


def test_uncertain_gives_its_reasons_before_anything_else():
    text = "I wrote this myself."
    reason = "The text has 5 tokens, too short to tell: the shortest calibration document has 11."
    page = render([ReportDocument("a", text, result_of(text, label="uncertain", p_value=0.13, warnings=[reason]))])
    assert page.index("No verdict on the text as a whole") < page.index(reason) < page.index('class="standfirst"')
    assert "does not mean “probably machine”" in page and "human texts of the same kind look" not in page


def test_a_document_that_could_not_be_read_is_a_sentence():
    page = Page(render([ReportDocument("a", "   ", unread())]))
    assert "The text is blank: 3 characters and none to read." in page.said and not page.text
    assert "ValueError" not in page.said


def test_what_was_read_and_what_was_not_is_told():
    text = make_text(1, 80, 6)
    read = [("Read", "pdf, 2 pages, 400 characters, 12.0% left out (references 12.0%)"), ("Body only", "yes")]
    document = ReportDocument("a.pdf", text, result_of(text, warnings=["One."]), notes=["Two."], read=read)
    page = render([document])
    assert "<li>Two.</li><li>One.</li>" in page and page.index("Read this first") < page.index("Two.")
    assert all(f"<dt>{name}</dt><dd><bdi>{value}</bdi></dd>" in page for name, value in read)
    unsure = ReportDocument("b", text, result_of(text, label="uncertain", warnings=["Short."]), notes=["Two."])
    assert '<h3>Why there is no verdict</h3><ul class="warnings"><li>Short.</li></ul>' in render([unsure])
    page = Page(render([document], unread=[("c.pdf", "is encrypted.")]))
    assert "1 document" in page.said and "Not read: 1 file" in page.said and "c.pdf: is encrypted." in page.said
    page = Page(render([], unread=[("c.pdf", "is encrypted."), ("d", "is empty.")]))
    assert (
        "Nothing could be judged" in page.said
        and "Not read: 2 files" in page.said
        and "Before you act" not in page.said
    )


def test_a_batch_that_older_code_of_a_checkpoint_screened_is_told():
    batch = screen([0.001, 0.6], 0.05)
    del batch["judged"]
    assert "If all 2 were human texts, about 0.10 would be" in batch_sentences(batch, 0, MACHINES)[0]


@pytest.mark.parametrize("vote", ["any", "majority"])
def test_what_a_vote_flags_is_told_beside_what_the_p_values_say(vote):
    """Four rows "Looks machine-generated" do not stand under "0 of 4 documents are flagged"."""
    text = make_text(1, 80, 6)
    flagged = result_of(text, [(0, len(text))], p_value=0.3, vote=vote)
    clear = result_of(text, p_value=0.6, label="human", vote=vote)
    documents = [ReportDocument(f"{n}.txt", text, r) for n, r in enumerate([flagged] * 4 + [clear, unread()])]
    said = Page(render(documents, prevalence=0.25)).said
    assert said.count("Looks machine-generated") == 8  # the table, and each document
    assert "Judged one by one by their p-values, 0 of 5 documents are flagged" in said
    assert "Judged together by their p-values, none stays flagged" in said
    assert "another rule, which flagged 4 of 5: how many of those to expect among human texts" in said
    mixed = [result_of(text, p_value=0.01), flagged]
    said = Page(render([ReportDocument("a", text, result) for result in mixed], prevalence=0.25)).said
    assert "of those flagged one by one by their p-values would be innocent" in said and "which flagged 2 of 2" in said
    calibrated = Page(render([ReportDocument("a", text, mixed[0])] * 2, prevalence=0.25)).said
    assert "by their p-values" not in calibrated and "another rule" not in calibrated


def test_a_partial_report_says_so_before_anything_else():
    text = make_text(1, 80, 6)
    done, left = [ReportDocument("a", text, result_of(text))], [("b", "was not reached."), ("c", "is encrypted.")]
    for documents, headed in (
        (done, "1 of 3 documents"),
        (2 * done, "2 of 4 documents"),
        ([], "Nothing could be judged"),
    ):
        said = Page(render(documents, unread=left, partial="It was interrupted.")).said
        title, _, headline, sentence = [line for line in said.splitlines() if line.strip()][:4]
        assert title.startswith("Partial report: ")
        assert headline == f"Partial report: {headed}" and sentence.startswith("It was interrupted.")
    assert "Partial" not in render(done) and "Partial" not in render(done, unread=left)
    evil, harmless = (Page(render(done, unread=left, partial=word)) for word in (EVIL, "x" * len(EVIL)))
    assert evil.shape() == harmless.shape() and EVIL in evil.said


def test_many_documents_are_judged_together():
    text = make_text(1, 80, 6)
    p_values = [0.001, 0.04, 0.6, 0.03]
    results = [result_of(text, p_value=p, label="machine" if p <= 0.05 else "human") for p in p_values]
    results.append(result_of(text, p_value=0.01, label="uncertain", warnings=["Too short."]))
    documents = [ReportDocument(f"{n}.txt", text, r) for n, r in enumerate([*results, unread()])]
    page = Page(render(documents, prevalence=0.25))
    batch = screen([*p_values, 1.0], 0.05, 0.25, judged=4)  # the last document was not judged at all
    assert f"{len(batch['flagged_alone'])} of 5 documents are flagged" in page.said
    assert "If the 4 whose p-value holds were human texts, about 0.20 would be flagged all the same" in page.said
    assert page.said.count("· stays flagged") == len(batch["flagged_together"])
    assert f"about {in_words(batch['innocent_share'])} of those flagged one by one would be innocent" in page.said
    assert "1 document without a p-value that holds counts as not flagged" in page.said
    assert {attrs["href"] for tag, attrs in page.elements if tag == "a"} >= {f"#d{n}" for n in range(1, 7)}


def test_links_lead_somewhere_and_ids_are_unique():
    page = Page(render(hostile("word" * 20)))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for _, attrs in page.elements if "href" in attrs} <= set(ids)


def test_colours_have_contrast():
    """WCAG AA, 4.5 to 1, for every ink on every ground it stands on, light and dark."""
    css = Page(render(hostile("word" * 20))).style
    themes = re.findall(r"\.mvh\{(--paper.*?)(?:--serif|\})", css, flags=re.DOTALL)
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        colour = {**dict(re.findall(r"--(\w+):(#\w+)", theme))}
        grounds = ["paper", "soft", "s1", "s2", "s3"]
        pairs = [("ink", ground) for ground in grounds] + [("muted", "paper"), ("muted", "soft"), ("tagink", "tag")]
        pairs += [(ink, "paper") for ink in ("link", "flagged", "clear", "doubt")]
        for ink, ground in pairs:
            assert contrast(colour[ink], colour[ground]) >= 4.5, f"{ink} on {ground}: {theme}"


def contrast(one, other):
    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_faults_are_sentences(tmp_path):
    text = make_text(1, 100, 7)
    with pytest.raises(ValueError, match="at least one document"):
        render([])
    with pytest.raises(ValueError, match="ends at character .* they do not belong together"):
        render([ReportDocument("a", text[:50], result_of(text))])
    with pytest.raises(ValueError, match="last page"):
        render([ReportDocument("a", text, result_of(text), [(1, 0, len(text) + 1)])])
    with pytest.raises(ValueError, match="prevalence"):
        render([ReportDocument("a", text, result_of(text))] * 2, prevalence=2)
    (tmp_path / "r.html").mkdir()
    with pytest.raises(OSError):
        write_report(tmp_path / "r.html", [ReportDocument("a", text, result_of(text))])
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


# --- notebooks ---


def test_results_of_a_loaded_detector_are_the_pipelines_dicts():
    import mvh

    detect = mvh.load_detector()  # the shipped one
    text, other = make_text(1, 120, 8), make_text(0, 120, 9)
    plain = detect.pipeline([text, other, "  "])
    result = detect(text)
    assert isinstance(result, mvh.Result) and result == detect.pipeline(text) and result.text == text
    assert json.loads(json.dumps(result)) == result
    many = detect([text, other, "  "])
    assert many == plain and [r.text for r in many] == [text, other, "  "]
    stream = detect(one for one in (text, other))
    assert next(stream).text == text and next(stream).text == other
    assert detect.screen(many) == detect.pipeline.screen(plain)
    for wrong in ({"text": text}, None, 3):
        with pytest.raises(TypeError):
            detect(wrong)


def test_a_detector_pickles_as_the_way_to_load_it_again():
    import mvh

    detect = mvh.load_detector(alpha=0.1)
    packed = pickle.dumps(detect)
    again = pickle.loads(packed)
    text = make_text(1, 120, 8)
    assert len(packed) < 1_000 and again(text) == detect(text) and again(text)["alpha"] == 0.1
    load, (model, options, identity) = detect.__reduce__()
    with pytest.raises(ValueError, match="The detector was .*other.* and at .* there is"):
        load(model, options, identity | {"weights": "other"})
    for wrong in ("./absent", "absent", "a/b/c"):
        with pytest.raises(ValueError, match="There is no checkpoint folder"):
            mvh.load_detector(wrong)


def test_a_result_shows_itself_in_a_notebook():
    import mvh

    text = make_text(1, 200, 10) + EVIL
    result = mvh.Result(result_of(text, [(300, 700)]), text)
    cell = Page(result._repr_html_())
    assert cell.text == text and cell.passages == {1: text[300:700]} and "Looks machine-generated" in cell.said
    assert not {tag for tag, _ in cell.elements} & {"script", "html", "body", "img"}
    ids = [{attrs["id"] for _, attrs in Page(result._repr_html_()).elements if "id" in attrs} for _ in range(2)]
    assert not ids[0] & ids[1], "two cells of one page share an id"
    long = mvh.Result(result_of("word " * 50_000, [(0, 300)], 3_000), "word " * 50_000)
    assert len(long._repr_html_()) < 100_000 and "too long to show here" in long._repr_html_()
    assert "could not be judged" in mvh.Result(unread(), "")._repr_html_()


def test_a_result_draws_its_scores():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    import mvh

    text = make_text(1, 200, 11)
    result = mvh.Result(result_of(text, [(300, 700)]), text, "a $ sign")
    axes = result.plot(figure.subplots())
    (scores,) = [patch for patch in axes.patches if hasattr(patch, "get_data")]
    assert list(scores.get_data().values) == [segment["score"] for segment in result["segments"]]
    figure.canvas.draw()
    with pytest.raises(ValueError, match="nothing to draw: The text is blank"):
        mvh.Result(unread(), "").plot()


def test_importing_mvh_stays_light_and_the_report_needs_no_torch():
    code = "import mvh, sys; assert not {'torch', 'transformers', 'jinja2'} & set(sys.modules); "
    code += "mvh.write_report; assert not {'torch', 'transformers'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
