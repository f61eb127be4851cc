"""What `--body-only` leaves out: lists of references end where their entries do, and what is in doubt stays body."""

import textwrap
import time

import docx
import pytest

from mvh.documents.blocks import Block
from mvh.documents.body import mark_body
from mvh.documents.extract import extract
from mvh.documents.plain import markdown_blocks, text_blocks
from mvh.documents.reference_list import is_references_title

from .test_documents import column, extract_text, write_pdf

LISTS = {
    "apa": """Smith, J. A., & Jones, B. (2019). The effect of rain on buses. Journal of Transport, 12(3), 45–67.
World Health Organization. (2018). Global status report on road safety. Geneva: WHO.
Brown, C. (2001, May 5). How cities forget the weather. The Guardian. https://example.org/weather
Lee, K., Park, S., & Kim, H. (2020). A survey of methods. In A. Editor (Ed.), Handbook of weather (pp. 12–34). Springer.
Okafor, N. (2010). Cities and water. Routledge.""",
    "mla": """Achebe, Chinua. Things Fall Apart. Anchor Books, 1994.
Auerbach, Erich. Mimesis: The Representation of Reality. Translated by Willard Trask, Princeton University Press, 1953.
Woolf, Virginia. To the Lighthouse. Edited by Mark Hussey, Harcourt, 2005.
Morrison, Toni. "Unspeakable Things Unspoken." Michigan Quarterly Review, vol. 28, no. 1, 1989, pp. 1-34.
Putnam, Robert. Bowling Alone. Simon & Schuster, 2000.
Ginzburg, Carlo. The Cheese and the Worms. Johns Hopkins University Press, 1980.""",
    "numbered": """[1] J. Smith and K. Lee, "Attention is not all you need," in Proc. Conf. Machine Learning, 2021, pp. 1–12.
[2] A. Vaswani et al., "Attention is all you need," Advances in Neural Information Processing Systems, vol. 30, 2017.
[3] B. Jones, "Rain," Nature, 2019.
[4] C. Brown and D. White, "Weather models," J. Weather, vol. 3, no. 2, 2015.
[5] E. Green, "Buses," IEEE Trans. Transp., 2011.""",
    "gost": """1. Иванов И. И. История города: учебное пособие. — М.: Наука, 2019. — 200 с.
2. Петрова А. В. О методах анализа текста // Вопросы языкознания. 2015. № 3. С. 45–67.
3. Сидоров, К. Л. Введение в статистику. СПб., 2001.
4. Кузнецов П. Р. Город и дождь. — М.: Мысль, 1999. — 340 с.
5. Орлова Е. С. Автобусы // Транспорт. 2011. № 2. С. 3–9.""",
    "german": """Müller, Hans: Die Stadt im Regen. Eine Studie. 2. Aufl. Berlin: Springer 1999.
Schmidt, Anna (2015): Verkehr und Wetter. In: Zeitschrift für Soziologie 12 (3), S. 45–67.
Weber, Max: Wirtschaft und Gesellschaft. Tübingen 1922.
Bundesamt für Statistik: Jahrbuch. Wiesbaden 2010.
Braun, Karl: Der Bus. München: Beck 1987.""",
}
CITING = (
    "Rain has occupied students of transport for a long time. Smith (2019) argues that buses are late because drivers slow "
    "down, a view that Jones and Brown (2018, p. 45) call naive. Others hold that the timetable is to blame (Lee, 2020; Park "
    "et al., 2017; see also Kim, 2015). In a survey of forty cities, Okafor (2010) found no effect whatever. As Taylor (1999) "
    'puts it, "a bus is a promise"; the promise is seldom kept (Weber, 1922: 12). Two strands may be told apart. The first, '
    "following Simmel (1903), looks at the passenger; the second, which begins with Latour (1996), at the vehicle. "
)
BRACKETS = (
    "The use of attention [1] has spread quickly [2], [3]. In [4] the authors propose a sparse variant, which [5] extends to "
    "long documents. Earlier work on convolution [6]-[9] was limited by its receptive field. We follow [10] and train on "
    "sentences; compared with [11], no labels are needed. "
)
HISTORY = (
    "In the spring of 1914 nobody in the village spoke of war. By August 1914, the young men were gone. The harvest of that "
    "year was brought in by women and children, and the school did not open until November. The winter of 1916 was the "
    "hungriest; prices had tripled since 1914. When the war ended in 1918, eleven names were cut into the stone. "
)
PLAIN = (
    "It rained again on the street and the bus was late. We walked home and said nothing. The old man at the corner sold his "
    "papers under a black umbrella, and the children ran past him to the river. Nobody knew what would come of it. "
)
PROSE = {"citing": CITING, "brackets": BRACKETS, "history": HISTORY, "plain": PLAIN}
TITLES = ["Chapter Two", "Глава 2", "Kapitel 2", "Appendix A", "3 Methods", "RESULTS OF RAIN"]
WIDTHS = (45, 90, 10_000)  # of a line: a column, a page, a paragraph a line


def wrapped(text: str, width: int) -> str:
    return "".join(f"{line}\n" for entry in text.split("\n") for line in textwrap.wrap(entry, width))


def words_left(blocks: list[Block], kind: str = "body") -> int:
    return sum(len(block.text) for block in blocks if block.kind == kind)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("style", LISTS)
def test_a_list_of_references_is_left_out_whatever_its_style(style, width):
    entries = wrapped(LISTS[style], width)
    marked = mark_body(text_blocks(PLAIN + "\n\nReferences\n" + entries), by_looks=True)
    assert words_left(marked, "references") >= 0.9 * len(entries)
    assert words_left(marked) <= len(PLAIN) + 2 + 0.1 * len(entries)


@pytest.mark.parametrize("prose", PROSE)
@pytest.mark.parametrize("style", LISTS)
def test_what_follows_a_list_stays_body(style, prose):
    """Whether a title parts them that can be told (all of it), or none (but for a few stretches that look like entries)."""
    for width in WIDTHS:
        entries, chapter = wrapped(LISTS[style], width), wrapped(PROSE[prose] * 20, width)
        for title in ["", *TITLES]:
            text = f"{PLAIN}\n\nReferences\n{entries}\n{title}\n\n{chapter}"
            left = words_left(mark_body(text_blocks(text), by_looks=True)) - len(PLAIN)
            least = len(chapter) if title in TITLES[:4] else len(chapter) - 600
            assert left >= least, (width, title)
        headed = (
            f"{PLAIN}\n\n## References\n\n{entries}\n\n### 2.1 Rain in cities\n\n{chapter}"  # a deeper one ends it, too
        )
        assert words_left(mark_body(markdown_blocks(headed), by_looks=False)) >= len(chapter) - 600


@pytest.mark.parametrize("prose", PROSE)
@pytest.mark.parametrize("title", ["Literature", "Literatur", "Quellen", "Литература", "References"])
def test_a_chapter_that_is_called_like_a_list_stays_body(title, prose):
    assert is_references_title(title)
    for width in WIDTHS:
        chapter = wrapped(PROSE[prose] * 6, width)
        text = f"1 Introduction\n\n{PLAIN}\n\n2 {title}\n\n{chapter}\n3 Methods\n\n{PLAIN}\n"
        assert words_left(mark_body(text_blocks(text), by_looks=True), "references") == 0, width
        marked = mark_body(markdown_blocks(f"# {title}\n\n{chapter}\n# Methods\n\n{PLAIN}"), by_looks=False)
        assert words_left(marked, "references") == 0, width


def test_a_thesis_by_chapters_keeps_its_chapters(tmp_path):
    chapter = [f"Line {number} of a chapter goes on about rain, and no entry looks like it." for number in range(40)]
    entries = LISTS["apa"].splitlines()[:4]
    first = column(60, ["Chapter One", "It begins with rain on the street.", "References", *entries])
    extracted = extract(
        write_pdf(tmp_path / "thesis.pdf", [first, column(60, ["Chapter Two", *chapter])]), body_only=True
    )
    assert all(line in extracted.text for line in chapter) and "Smith, J. A." not in extracted.text
    document = docx.Document()
    document.add_heading("Literature", 1)
    for _ in range(5):
        document.add_paragraph(CITING)
    document.add_heading("References", 1)
    document.add_heading("Printed", 2)
    for entry in LISTS["mla"].splitlines():
        document.add_paragraph(entry)
    document.add_heading("Chapter 2", 2)
    document.add_paragraph(PLAIN)
    document.save(tmp_path / "thesis.docx")
    body = extract(tmp_path / "thesis.docx", body_only=True)
    assert body.text.count("Rain has occupied") == 5 and PLAIN.strip() in body.text and "Achebe" not in body.text


def test_a_wrapped_line_that_begins_with_a_number_is_no_title():
    for text in (
        "In all we saw that\n12 participants were recruited from the clinic\nand followed for a year.\n",
        "We had expected more of\n12 Monkeys as a film about the end\nof the world than it gave us.\n",
        "He came home at last.\n12 March was the day we left the town\nand went to the sea.\n",
        "At the gate the sign said\nKEEP OFF THE GRASS\nand so we did.\n",
    ):
        assert words_left(mark_body(text_blocks(text), by_looks=True)) == len(text), text
    for text in (
        "It was late.\n\n3 Methods\n\nWe began anew.\n",
        "It was late.\n3.1 Rain in Cities\nWe began.\n",
        "It was late.\nRESULTS\nWe began.\n",
    ):
        (title,) = [block for block in mark_body(text_blocks(text), by_looks=True) if block.kind == "heading"]
        assert title.text.strip() in ("3 Methods", "3.1 Rain in Cities", "RESULTS")


def test_a_file_of_which_much_is_left_out_says_so(tmp_path):
    """A file that is mostly references; the same file read whole, and one with few, say nothing."""
    much, few = PLAIN + "\n\nReferences\n" + LISTS["apa"], PLAIN * 20 + "\n\nReferences\n" + LISTS["apa"]
    extracted = extract_text(tmp_path / "a.txt", much, body_only=True)
    (note,) = extracted.notes
    assert extracted.skipped_share > 0.3 and "left out as no running text (references" in note
    assert extract_text(tmp_path / "a.txt", much).notes == extract_text(tmp_path / "b.txt", few, True).notes == []


@pytest.mark.parametrize(
    "made",
    [
        lambda n: "." * n,
        lambda n: "References\n" * (n // 11),
        lambda n: "References\n\n\n\n" * (n // 14),
        lambda n: "=" * n,
        lambda n: "f(" * (n // 2),
        lambda n: "if ()" + " " * n + "x",
        lambda n: "A" * n,
        lambda n: "References\n" + "[1] A. 1999.\n" * (n // 13),
        lambda n: "References\n" + "Smith, J. " * (n // 10) + "\n" + "1. Rain\n\n" * (n // 9),
        lambda n: "x\n\n" * (n // 3),
    ],
)
@pytest.mark.parametrize("blocks", [text_blocks, markdown_blocks])
def test_time_grows_in_proportion_to_length(blocks, made):
    """Four times the text takes about four times the time; a pattern that is quadratic takes sixteen times and more."""

    def seconds(length: int) -> float:
        text = made(length)
        times = []
        for _ in range(3):
            began = time.process_time()
            mark_body(blocks(text), by_looks=blocks is text_blocks)
            times.append(time.process_time() - began)
        return min(times)

    assert seconds(80_000) < 10 * seconds(20_000) + 0.1
