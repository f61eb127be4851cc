"""Every figure on a page is the one it came from: results, a formula, a constant of the code, or a fact with its reason.

A page is read without code and link targets. Of what is left each number of two digits or more must stand in a row of a page
of results/, in a sentence of CLAIMS, whose numbers are computed here, or in FACTS. The pages of results/ themselves are
made again from their JSON.
"""

import json
import re
import shutil
from functools import partial
from math import ceil, floor, prod
from pathlib import Path

import numpy as np
import pytest

from mvh import calibrate, export, handler
from mvh.benchmarks import detect, growth, latency, memory, parity, scan, steps, train
from mvh.calibration_mvh import MIN_GROUP_DOCUMENTS, decode_calibration
from mvh.card import measured_rows, write_card
from mvh.cli.faults import INTERRUPTED
from mvh.dataset_builder.sampling import ROLES
from mvh.documents.limits import LIMITS
from mvh.experiments import (
    article_page,
    attacks,
    corrections,
    decision_page,
    features,
    generalisation_page,
    heads,
    long_documents,
    spans,
    splices,
    toxic_page,
    writers,
)
from mvh.identity_mvh import AGREEMENT
from mvh.languages_mvh import LEAST_WORDS, NAMES, WINDOW
from mvh.lexicon_mvh import MIN_LANGUAGE_TEXTS
from mvh.metrics import false_positive_interval
from mvh.pvalues_mvh import false_alarm_interval, with_confidence
from mvh.scan.plan import MOST_OF_COMPRESSED, SHARD_ROWS

ROOT = Path(export.__file__).parent
RESULTS = ROOT / "results"
SHIPPED = ROOT / "checkpoints" / "mvh-mini-en"
VERSIONS = ("licences.md",)  # a list of packages, which holds versions and no figure
PAGES = [
    "README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in VERSIONS),
]

NUMBER = re.compile(r"(?<![\w.\-/#^])\d[\d,]*(?:\.\d+)?(?!\w)")  # not the 4 of SemEval-2024 or the 200 of 0.95^200
SMALL = re.compile(r"\d|19\d\d|20[0-2]\d")  # one digit, or a year


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


# --- results: the pages are what the JSON says ---

MADE_BY = {
    **dict.fromkeys(
        ("table1", "table2", "table3", "table4", "table5", "augmentation", "few_texts", "backbones", "ensembles",
         "finetuning", "freeze", "segments", "removal"), article_page.markdown
    ),
    "corrections": corrections.markdown, "decision": decision_page.page,
    "long_documents": long_documents.page, "long_documents_multi": long_documents.page,
    "features": features.page, "features_multilingual": features.page, "edges": splices.markdown,
    "spans": spans.markdown, "spans_multi": spans.markdown,
    **dict.fromkeys(("generalisation", "generalisation_languages", "auxiliary", "layers"), generalisation_page.markdown),
    "toxic": toxic_page.markdown, "attacks": attacks.page, "writers": writers.page, "heads": heads.page,
}  # fmt: skip
SPEED = {
    "speed_detect": detect, "speed_detect_minilm_shape": detect,
    "speed_detect_mdeberta": detect, "speed_growth": growth, "speed_latency": latency,
    "speed_memory": memory, "speed_parity": parity, "speed_parity_multi": parity, "speed_scan": scan, "speed_train": train,
    "speed_train_steps": steps, "speed_train_steps_en": steps, "speed_memory_layers": memory,
}  # fmt: skip
MADE_BY |= {name: partial(lambda room, report: "\n".join(room.page(report)), room) for name, room in SPEED.items()}


@pytest.mark.parametrize("name", MADE_BY)
def test_a_page_of_results_is_what_its_json_says(name):
    assert MADE_BY[name](result(name)).strip() == (RESULTS / f"{name}.md").read_text(encoding="utf-8").strip()


# --- pages: every number has a source ---


def false_flags(world, segments):
    """Share of simulated human documents with a false flag where nothing is corrected."""
    rows = result("corrections")["rows"]
    wanted = {"world": world, "segments": segments, "method": "none", "share": 0}
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row["any_false"]


def rate(documents):
    """The row of a table that says where the realised rate lies."""
    low, high = false_alarm_interval(documents, 0.05)
    return f"| {documents} | {floor((documents + 1) * 0.05)} | {low:.3f} to {high:.3f} |"


def allowed(documents, confidence):
    """How many of so many human texts may look as machine-like as one that is flagged at 0.05."""
    ranks = range(documents)
    p_values = [(rank + 1) / (documents + 1) for rank in ranks]
    kept = with_confidence(np.array(p_values), documents, confidence) if confidence else p_values
    return max(rank for rank in ranks if kept[rank] <= 0.05)


def some(segments):
    """Chance of a false flag among independent segments at 0.05."""
    return 1 - 0.95**segments


def long_articles():
    """How many medical articles of nine segments or more decision.md has, and the share of them with a false flag."""
    page = (RESULTS / "decision.md").read_text(encoding="utf-8")
    corrected = page.split("## Corrections by number of segments")[1].split("### long_human_en.jsonl")[1]
    documents, none, bh = re.search(
        r"^\| 9 or more \| (\d+) \| 0 \| ([\d.]+) / – .*? \| ([\d.]+) / – \| [^|]* \| [^|]* \|$", corrected, re.M
    ).groups()
    assert float(bh) == 0.0, "the page says: and in none with `bh`"
    return documents, none


def longest_claim():
    """Beyond which length the shipped English detector judges by parts."""
    packed = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))["calibration"]
    return f"{packed['document']['longest_tokens']:,} tokens"


def abstracts_claim():
    """The share of human medical abstracts that the shipped English detector flags."""
    (row,) = [
        line for line in read_page("results/mvh-mini-en.md").splitlines() if line.startswith("| zeroshot:pubmed |")
    ]
    return f"share of {row.split('|')[7].strip()}"


def long_claims():
    """What results/long_documents.md says of long articles, and of texts beyond a pretended limit."""
    found = result("long_documents")
    (long,) = found["long"]
    assert long["by_parts"]["0.05"]["rate"] == 0
    rows = {
        row["label"]: row
        for row in found["pretended"]
        if row["texts"] == "monolingual_dev.jsonl" and row["tokens_from"] == 513
    }
    human, machine = (
        [rows[label][way]["0.05"]["rate"] for way in ("by_parts", "whole")] for label in ("human", "machine")
    )
    joined = [row["by_parts"]["0.05"]["rate"] for row in found["joined"] if row["label"] == "machine"]
    assert joined and set(joined) == {1.0}, "the page says: were all found at 0.05"
    upper = long["by_parts"]["0.05"]["interval_95"][1]
    return [
        f"none of {long['documents']} long medical articles was flagged at 0.05 (95 % interval up to {upper:.3f}), and under a "
        f"pretended limit of {512} tokens "
        f"{human[0]:.3f} of the human texts of `monolingual_dev` beyond it, with {machine[0]:.3f} of the machine texts found "
        f"(judged as wholes, which their calibration allows: {human[1]:.3f} and {machine[1]:.3f})",
        longest_claim(),
        "(Rüger, Metrika 25, 1978)",
        "English ones of one source put together were all found at 0.05",
    ]


def russian_papers_claim():
    """What results/spans_multi.md says of the machine passages in long Russian papers."""
    (papers,) = result("spans_multi")["files"].values()
    none, bh = papers["corrections"]["none"], papers["corrections"]["bh"]
    assert bh["flagged_segments"] == 0
    config = json.loads((ROOT / "checkpoints" / "mvh-mini-multi" / "config.json").read_text(encoding="utf-8"))
    rare = decode_calibration(config["calibration"]).segment[""].documents
    return (
        f"in {papers['documents']} long Russian papers `mvh-mini-multi` shows none with `bh`: its calibration has "
        f"{rare} human texts of all scripts but Latin. Without a correction it flags {none['power']:.3f} of the machine "
        f"segments, and {none['fdr']:.3f} of what"
    )


def verdict_claims():
    documents, share = long_articles()
    low, high = false_positive_interval([0] * 200, [1] * 10 + [0] * 190)
    by = 10 * sum(1 / rank for rank in range(1, 11)) / 0.05 - 1
    innocent = 0.9 * 200 * 0.05
    lengths = (3, 10, 40)
    return [
        *long_claims(),
        abstracts_claim(),
        russian_papers_claim(),
        f"To flag anything at 0.05 takes {1 / 0.05 - 1:.0f} texts, at 0.01 it takes {1 / 0.01 - 1:.0f}.",
        *map(rate, (100, 200, 1000)),
        f"With n = 200, a text is then flagged only if at most {allowed(200, 0.95)} of them look as machine-like, instead of "
        f"{allowed(200, None)}: the upper Clopper-Pearson bound on r out of 200 must not exceed 0.05.",
        f"At alpha = 0.05 that is {some(10):.2f} for 10 segments, {some(20):.2f} for 20 and {some(40):.2f} for 40.",
        "| the formula (independent segments) | " + " | ".join(f"{some(m):.3f}" for m in lengths) + " |",
        "| simulated, all lengths alike | " + " | ".join(f"{false_flags('alike', m):.3f}" for m in lengths) + " |",
        "| simulated, long texts score higher | "
        + " | ".join(f"{false_flags('long documents score higher', m):.3f}" for m in lengths)
        + " |",
        f"{documents} medical articles of nine segments or more gave a false flag in {share} of the cases without a "
        f"correction, where the formula expects {some(9):.3f} or more",
        f"from m / alpha - 1 human documents on ({10 / 0.05 - 1:.0f} for 10 segments at 0.05), `by` from "
        f"m (1 + 1/2 + ... + 1/m) / alpha - 1 ({ceil(by)})",
        f"For 200 honest theses at alpha = 0.05: 200 * 0.05 = {200 * 0.05:.0f} accusations",
        f"0.95^200, less than one in {floor(0.95**-200 / 5000) * 5000:,}, if",
        f"For 200 documents, alpha = 0.05 and n = 100 that is 200 / (0.05 * {100 + 1}) = {200 / (0.05 * 101):.1f}, so "
        f"{-(-200 // (0.05 * 101)):.0f}.",
        f"With 200 texts, prevalence 0.1 and 29 flagged, that is {1 - 0.1:.1f} * 200 * 0.05 / 29 = {innocent:.0f} / 29:",
        f"With 200 texts and 10 false alarms the rate is 10 / 200 = {10 / 200:.2f}, and the 95 % Clopper-Pearson interval "
        f"runs from {low:.3f} to {high:.3f}.",
        f"and with those of each source of at least {MIN_GROUP_DOCUMENTS} documents of its script",
        f"needs {MIN_GROUP_DOCUMENTS} texts of one script in the half for documents, so {2 * MIN_GROUP_DOCUMENTS} in all",
        f"Fewer than {calibrate.LEAST} are refused",
        f"and a text of fewer than {LEAST_WORDS} words, is judged as any other.",
        f"looked for in stretches of {WINDOW} words, so it is not seen in a text of fewer than {WINDOW + LEAST_WORDS},",
        f"With 200, the first row of the table above (n = {calibrate.LEAST // 2}) applies.",
    ]


def corpora_claims():
    largest = re.search(r"257 tokens or more \| (\d+)", (SHIPPED / "README.md").read_text(encoding="utf-8"))[1]
    return [
        f"Over a million human documents at alpha 0.05 that is up to {1_000_000 * 0.05:,.0f} false alarms.",
        f"with n = {largest} and fdr 0.05, {100 / (0.05 * (int(largest) + 1)):.0f} % of the corpus.",
        f"cut into shards of {SHARD_ROWS:,} rows",
        f"cut into at most {MOST_OF_COMPRESSED} shards",
    ]


def generalisation_claims():
    tasks = result("generalisation")["groups"]["collections"]["tasks"]
    rates = {name.split()[-1]: task["rows"]["mvh-mini-en"]["fpr_0.05"]["rate"] for name, task in tasks.items()}
    low, high = min(rates, key=rates.get), max(rates, key=rates.get)
    return [f"human texts pass, {rates[low] * 100:.0f} % ({low}) to {rates[high] * 100:.0f} % ({high})"]


def generator_claims():
    tasks = result("generalisation")["groups"]["generators"]["tasks"]
    own = [task["rows"]["mvh-mini-en"] for task in tasks.values()]
    ahead = sum(row["auroc_over_reference"]["gain"] > 0 for row in own)
    beyond = sum(row["auroc_over_reference"]["interval_95"][0] > 0 for row in own)
    low, high = min(row["auroc"] for row in own), max(row["auroc"] for row in own)
    return [
        f"is ahead of the n-grams on {ahead} of {len(own)} generators, on {beyond} with an interval above zero (of one "
        f"training, not adjusted for eleven looks): AUROC {low:.3f} to {high:.3f}"
    ]


def language_claims():
    rows = result("generalisation_languages")["groups"]["languages"]["pooled"]["rows"]
    own, ngrams = (rows[name]["by_language"] for name in ("mvh-mini-multi", "char_ngram"))
    german, french, spanish = (own[name]["tpr_0.05"]["rate"] for name in ("de", "fr", "es"))
    *behind, last = sorted(NAMES[name] for name in own if own[name]["auroc"] <= ngrams[name]["auroc"])
    return [
        f"the recipe finds, at 5 %, {german:.3f} of the machine texts in German, {french:.3f} in French and {spanish:.3f} in "
        f"Spanish, and ranks no better than n-grams in {', '.join(behind)} and {last}."
    ]


def task_claims():
    csv, held_back = result("toxic")["csv"], ROLES["calibration_segments"] + ROLES["calibration_documents"]
    return [
        f"{csv['duplicates']} comments stand in it twice",
        f"and {csv['both_labels']} of them bear both labels",
        f"{csv['rows']:,} comments, {csv['toxic']:,} toxic.",
        f"{csv['rows'] - csv['duplicates']:,} comments stay",
        f"{126} tokens and the two special ones make the article's {126 + 2}.",
        f"{held_back * 100:.0f} % of the training part go into calibration",
        f"at least {1 / 0.05 - 1:.0f} for alpha 0.05, {1 / 0.01 - 1:.0f} for 0.01",
    ]


def constant(file, name):
    """A number in the source of the Space, which is no package of ours: as Python writes it, products worked out."""
    (found,) = re.findall(rf"\b{name} ?= ?([\d_. *]+\d|\d+)", (ROOT / "space" / file).read_text(encoding="utf-8"))
    return prod(float(part) for part in found.split(" * "))


def security_claims():
    mib, gib = 2**20, 2**30
    space = {
        name: constant("judge.py", name) for name in ("CHARACTERS", "FILE_BYTES", "pages", "seconds", "memory_bytes")
    }
    return [
        f"{LIMITS.file_bytes // mib} MiB a file, {LIMITS.pages:,} pages, {LIMITS.characters // 10**6} million characters, "
        f"{LIMITS.unpacked_bytes // mib} MiB unpacked and at most {LIMITS.unpacked_ratio} to 1 a part, {LIMITS.seconds:.0f} "
        f"seconds, {LIMITS.memory_bytes // gib} GiB of memory",
        f"{handler.MAX_TEXTS} texts and {handler.MAX_CHARACTERS:,} characters",
        f"| {space['CHARACTERS']:,.0f} characters, files of {space['FILE_BYTES']:.0f} MiB, {space['pages']:.0f} pages, "
        f"{space['seconds']:.0f} seconds and {space['memory_bytes'] / 1024:.0f} GiB to read one",
        f"one is judged, one read, {constant('app.py', 'QUEUE'):.0f} wait",
    ]


def attack_claims():
    found = result("attacks")["attacks"]
    whole, cut = (found[name]["all"]["machine"] for name in ("none", "truncate_50"))
    alarms, more = (found[name]["all"]["human"]["at_threshold"]["rate"] for name in ("none", "truncate_50"))
    return [
        f"on {whole['texts']} machine texts:",
        f"cut to 50 words, {cut['at_threshold']['rate']:.3f} of the machine texts are found in place of "
        f"{whole['at_threshold']['rate']:.3f}, and {more:.3f} of the human ones lie above the threshold in place of "
        f"{alarms:.3f}.",
    ]


def writer_claims():
    ease = result("writers")["files"]["monolingual_dev.jsonl"]["reading_ease"]
    hard, plain = (ease[place]["false_alarms"]["rate"] for place in (0, -1))
    return [f"that are hardest to read a share of {hard:.3f} was flagged, of the plainest {plain:.3f}, and"]


STATUS = [f"2 usage, {INTERRUPTED} interrupted", f"2 wrong usage, {INTERRUPTED} interrupted"]
CLAIMS = {
    "README.md": lambda: [
        *STATUS,
        *attack_claims(),
        *generalisation_claims(),
        *generator_claims(),
        *language_claims(),
        longest_claim(),
    ],
    "docs/developer.md": lambda: STATUS,
    "docs/corpora.md": lambda: [*STATUS, *corpora_claims()],
    "docs/verdict.md": verdict_claims,
    "docs/another_task.md": task_claims,
    "docs/features.md": lambda: [f"for each language with {MIN_LANGUAGE_TEXTS} of them"],
    "docs/security.md": security_claims,
    "docs/speed.md": lambda: [
        f"of at least {AGREEMENT:.1%} the default".replace("%", " %"),
        f"One step of {result('speed_train_steps')['batch']} full segments",
    ],
    "docs/publish.md": lambda: [f"at most {handler.MAX_TEXTS} texts and {handler.MAX_CHARACTERS:,} characters"],
    "docs/edited-text.md": lambda: [f"Take {calibrate.LEAST} texts", *writer_claims()],
    "docs/editor.md": lambda: [f"collect {calibrate.LEAST} that people wrote", longest_claim(), abstracts_claim()],
    "docs/data-engineer.md": lambda: [abstracts_claim()],
    "docs/moderator.md": lambda: [
        f"Export {calibrate.LEAST} posts or more",
        f"With {100 / 0.01:,.0f} posts a day and alpha 0.01, a hundred honest ones",
    ],
}

# what neither a result nor a formula gives, as it stands on the page, and why it stands there
DEFAULT = "the default level, or that of an example"
FACTS = {
    "README.md": {
        "Python 3.11": "pyproject.toml", "about 50 words": "the shortest length that can be told, 48 tokens, in words",
        "At alpha 0.05": DEFAULT, "at alpha 0.05": DEFAULT, "less than 32 MB": "test_shipped weighs it",
        "about 3,000 segments": "the page's command: its default",
        "about 1,500 words": "the longest text that was calibrated on, 1,977 tokens, in words",
    },
    "docs/another_task.md": {
        "0.2 slight": "Landis and Koch 1977", "0.4 fair": "Landis and Koch", "0.6 moderate": "Landis and Koch",
        "0.8 substantial": "Landis and Koch", "p-value of 0.01": "explains a p-value",
        "had 3,000 of its comments": "the article", "alpha 0.81 and kappa 0.68": "the article",
        "the two labels is 0.65": "test_agreement counts it in the data",
        "4,726 of them toxic": "test_toxic_data counts it in the data",
    },
    "docs/edited-text.md": {"61 % of 91": "Liang et al. 2023"},
    "docs/editor.md": {
        "at alpha 0.05 and one": DEFAULT, "at most 20;": "report.words.held_sentence", "p = 0.01 says": "explains a p-value",
        "about 1,500 words": "the longest text that was calibrated on, 1,977 tokens, in words",
        "flagged at 0.01": "an example; verdict.md has the arithmetic",
    },
    "docs/ensembles.md": {"Biometrika 107": "Vovk and Wang 2020", "pages 791 to 808": "Vovk and Wang 2020"},
    "docs/moderator.md": {"the first 20 of them": "how many names a terminal shows"},
    "docs/speed.md": {"A share of 0.75": "what performance was aimed at"},
    "docs/security.md": {
        "answered 413": "HTTP", "answered 503": "HTTP", "status 200": "HTTP", "Under 50 clients": "the command below it",
    },
    "docs/verdict.md": {
        "about 1,500 words": "the longest text that was calibrated on, 1,977 tokens, in words",
        "p = 0.01 means": "explains a p-value", "(default 0.05)": DEFAULT, "At alpha = 0.05 its": DEFAULT,
        "95 of 100": "what confidence=0.95 says", "alpha 0.05 | 3 segments | 10 segments | 40 segments": "the table's head",
        "One flag out of 200": "an example", "[p * 100] in 100": "per cent", "[alpha * 100] in 100": "per cent",
    },
}  # fmt: skip


def result_rows():
    """The rows of all tables of results/."""
    pages = (path.read_text(encoding="utf-8") for path in RESULTS.glob("*.md"))
    return {line for page in pages for line in page.splitlines() if line.startswith("|")}


def read_page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def unsourced(name, text):
    """The numbers of a page that nothing says where they come from, each with a few words around it."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    rows = result_rows()
    text = " ".join(" ".join(line for line in text.splitlines() if line not in rows).split())
    for known in [*CLAIMS.get(name, list)(), *FACTS.get(name, {})]:
        text = text.replace(known, "…")
    text = re.sub(r"\]\([^)]*\)|`[^`]*`", " ", text)
    return [
        text[max(0, found.start() - 40) : found.end() + 20]
        for found in NUMBER.finditer(text)
        if not SMALL.fullmatch(found.group().rstrip(","))
    ]


@pytest.mark.parametrize("name", PAGES)
def test_every_figure_of_a_page_has_a_source(name):
    assert unsourced(name, read_page(name)) == []


@pytest.mark.parametrize("name", [*CLAIMS, *FACTS])
def test_no_source_is_left_over(name):
    """Every sentence that is computed here stands on its page, so that a page that changes is noticed."""
    text = " ".join(read_page(name).split())
    known = [*(CLAIMS[name]() if name in CLAIMS and CLAIMS[name]() is not STATUS else ()), *FACTS.get(name, {})]
    assert [words for words in known if words not in text and words not in STATUS] == []
    assert name not in CLAIMS or any(words in text for words in CLAIMS[name]())


@pytest.mark.parametrize("name", PAGES)
def test_a_changed_digit_is_noticed(name):
    """Whichever figure outside code is changed by one in its last digit."""
    text = read_page(name)
    fenced = [found.span() for found in re.finditer(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", text, flags=re.S)]
    missed = []
    for found in NUMBER.finditer(text):
        number = found.group().rstrip(",")
        if SMALL.fullmatch(number) or any(start <= found.start() < end for start, end in fenced):
            continue
        place = found.start() + len(number) - 1
        changed = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
        if not unsourced(name, changed) and not SMALL.fullmatch(changed[found.start() : place + 1]):
            missed.append(text[max(0, found.start() - 40) : found.end() + 20])
    assert missed == []


# --- the card ---


def test_the_card_is_what_its_files_say(tmp_path):
    """Calibration from config.json, the rest from figures.json; nothing was written by hand."""
    for name in ("config.json", "figures.json"):
        shutil.copy(SHIPPED / name, tmp_path)
    write_card(tmp_path)
    assert (tmp_path / "README.md").read_text() == (SHIPPED / "README.md").read_text()


def test_the_figures_of_the_card_are_the_results():
    figures, page = json.loads((SHIPPED / "figures.json").read_text()), (RESULTS / "mvh-mini-en.md").read_text()
    measured = result("mvh-mini-en")["score"]
    assert figures["results"] == measured_rows(measured)
    rows = [row for table in figures["tables"] for row in table["markdown"].splitlines() if re.search(r"\d\.\d", row)]
    assert len(rows) > 20 and [row for row in rows if row not in page.splitlines()] == []
