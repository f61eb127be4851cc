"""Small lists of words per language, and the language of a text by its script and by a vote of its function words.

Languages: ar bg de en es fr id ru ur vi zh, those of the development data. The lists were written for this project and
are under its licence. Four kinds each: function words (articles, pronouns, prepositions, auxiliaries), hedges,
transitions, first-person words. All are in lower case; an entry of several words is a phrase, and matches as one. Words
are runs of letters or digits with their marks, as `WORD` finds them, so that "don't" is the phrase "don t"; a Chinese or
Japanese character is a word. Stop words are the function words (`removal_mvh`).

A text in another language has language None; so has one in which function words are too rare to tell. A close relative
of a listed language may pass for it (Italian and Portuguese for Spanish).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARKS = "\u0300-\u036f\u064b-\u065f\u0670\u06d6-\u06dc\u0900-\u0903\u093a-\u094f"
WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}{_MARKS}][^\W_{_CJK}]*(?:[{_MARKS}]+[^\W_{_CJK}]*)*")
SCRIPTS: dict[str, tuple[re.Pattern[str], tuple[str, ...]]] = {  # name -> its letters, the languages known in it
    "latin": (re.compile("[A-Za-z\u00aa-\u024f\u1e00-\u1eff]"), ("en", "de", "es", "fr", "id", "vi")),
    "cyrillic": (re.compile("[\u0400-\u052f]"), ("ru", "bg")),
    "arabic": (
        re.compile("[\u0620-\u064a\u0671-\u06d3\u06fa-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]"),
        ("ar", "ur"),
    ),
    "cjk": (re.compile(f"[{_CJK}]"), ("zh",)),
}
MIN_SHARE = 0.12  # function words among the words; 95 % of the development texts in each language have more
KINDS = ("function", "hedge", "transition", "first_person")

LISTS: dict[str, dict[str, str]] = {
    "en": {
        "function": "the a an and or but if of to in on at by for with from as into about than then that this "
        "these those it "
        "its is are was were be been being am do does did has have had will would can could shall should may might "
        "must not "
        "no nor so such i me my we us our you your he him his she her they them their who whom whose which what "
        "when where "
        "how why there here all any each both some more most other only own same too very up out over under again "
        "once "
        "because while during before after between through",
        "hedge": "may, might, could, perhaps, maybe, possibly, probably, likely, apparently, seem, seems, seemed, "
        "appear, "
        "appears, suggest, suggests, somewhat, relatively, generally, typically, usually, often, sometimes, tend "
        "to, tends to, "
        "kind of, sort of, in general, i think, i guess, i believe",
        "transition": "however, moreover, furthermore, additionally, therefore, thus, hence, consequently, "
        "nevertheless, "
        "nonetheless, meanwhile, overall, ultimately, finally, similarly, likewise, instead, in addition, in "
        "conclusion, "
        "as a result, for example, for instance, in contrast, on the other hand, in other words, in summary, in fact, "
        "first of all, due to",
        "first_person": "i, me, my, mine, myself, we, us, our, ours, ourselves",
    },
    "de": {
        "function": "der die das den dem des ein eine einen einem einer eines und oder aber wenn von zu in im ins "
        "am an auf bei "
        "für mit aus als über nach vor durch um bis gegen ohne unter zwischen es ist sind war waren sein hat haben "
        "hatte wird "
        "werden wurde wurden kann können soll muss nicht kein keine so ich mich mir mein wir uns unser du er ihn "
        "ihm sie ihr "
        "ihre sich man wer was welche dass dies diese dieser dieses auch noch nur schon sehr mehr wie wo da zum "
        "zur vom beim",
        "hedge": "vielleicht, möglicherweise, wahrscheinlich, vermutlich, wohl, eventuell, offenbar, anscheinend, "
        "scheint, "
        "scheinen, könnte, könnten, dürfte, etwa, relativ, ziemlich, meist, oft, manchmal, in der regel, im "
        "allgemeinen",
        "transition": "jedoch, außerdem, darüber hinaus, zudem, ferner, daher, deshalb, folglich, somit, dennoch, "
        "trotzdem, "
        "schließlich, insgesamt, ebenso, stattdessen, zum beispiel, im gegensatz dazu, mit anderen worten, "
        "infolgedessen",
        "first_person": "ich, mich, mir, mein, meine, meinen, meiner, wir, uns, unser, unsere",
    },
    "es": {
        "function": "el la los las un una unos unas y e o u pero si de del a al en por para con sin sobre entre "
        "hasta desde "
        "como que lo le les se su sus es son era eran fue fueron ser estar está están ha han había hay puede "
        "pueden no ni yo "
        "me mi mis nos nuestro nuestra tú te tu él ella ellos ellas este esta estos estas ese esa eso esto quien "
        "cual cuando "
        "donde más muy también ya tan todo toda todos todas otro otra porque durante",
        "hedge": "quizás, quizá, tal vez, posiblemente, probablemente, aparentemente, parece, parecen, podría, "
        "podrían, suele, "
        "suelen, generalmente, normalmente, a menudo, a veces, relativamente, en general, más o menos",
        "transition": "sin embargo, además, asimismo, por lo tanto, por tanto, así, no obstante, finalmente, en "
        "conclusión, "
        "en resumen, por ejemplo, por otro lado, en cambio, en consecuencia, es decir, por otra parte, de hecho, "
        "en primer lugar",
        "first_person": "yo, me, mi, mis, mí, nos, nosotros, nosotras, nuestro, nuestra, nuestros, nuestras",
    },
    "fr": {
        "function": "le la les l un une des du de d et ou mais si à au aux en dans par pour avec sans sur sous "
        "entre jusque "
        "depuis comme que qu qui quoi dont où ce cet cette ces c il elle ils elles on se s son sa ses leur leurs "
        "est sont était "
        "étaient être a ont avait avoir peut peuvent ne n pas ni je j me m mon ma mes nous notre nos vous votre "
        "vos tu te "
        "plus très aussi tout toute tous toutes autre autres même y lui lorsque quand",
        "hedge": "peut être, probablement, possiblement, sans doute, apparemment, semble, semblent, pourrait, "
        "pourraient, "
        "généralement, souvent, parfois, relativement, plutôt, en général, habituellement, environ",
        "transition": "cependant, toutefois, néanmoins, de plus, en outre, par ailleurs, ainsi, donc, par "
        "conséquent, enfin, "
        "finalement, en conclusion, en résumé, par exemple, en revanche, en effet, d autre part, c est pourquoi, "
        "tout d abord",
        "first_person": "je, j, me, m, mon, ma, mes, moi, nous, notre, nos",
    },
    "id": {
        "function": "yang dan di ke dari pada untuk dengan oleh dalam sebagai atau tetapi jika maka ini itu adalah "
        "ialah ada "
        "tidak bukan akan telah sudah sedang dapat bisa harus juga saja hanya lebih sangat para suatu sebuah "
        "seorang saya aku "
        "kami kita anda kamu dia ia mereka nya nanti saat ketika karena agar supaya antara hingga sampai setelah "
        "sebelum "
        "seperti bahwa serta tersebut masih lagi secara terhadap tentang semua setiap lain",
        "hedge": "mungkin, barangkali, agaknya, tampaknya, sepertinya, kira kira, biasanya, umumnya, pada umumnya, "
        "sering, "
        "kadang, relatif, cenderung, diperkirakan, diduga",
        "transition": "namun, selain itu, oleh karena itu, dengan demikian, akhirnya, meskipun demikian, "
        "sebaliknya, misalnya, "
        "sebagai contoh, sementara itu, kesimpulannya, akibatnya, di sisi lain, selanjutnya, lebih lanjut",
        "first_person": "saya, aku, kami, kita, ku",
    },
    "vi": {
        "function": "và là của có được cho không trong với các những một này đó khi để từ về ra vào đến ở tại trên "
        "dưới theo "
        "như thì mà nếu hay hoặc nhưng vì nên do bởi cũng đã đang sẽ bị phải rất hơn nhất tôi chúng ta bạn anh chị "
        "ông bà nó "
        "họ mình ai gì nào đây kia cả mỗi nhiều lại còn chỉ vẫn đều sau trước giữa qua cùng bằng",
        "hedge": "có thể, có lẽ, dường như, hình như, khoảng, thường, thỉnh thoảng, tương đối, có vẻ, nói chung, "
        "đôi khi, khá",
        "transition": "tuy nhiên, ngoài ra, hơn nữa, do đó, vì vậy, bên cạnh đó, cuối cùng, tóm lại, ví dụ, mặt khác, "
        "trong khi đó, đồng thời, nhìn chung, thêm vào đó, đầu tiên",
        "first_person": "tôi, chúng tôi, chúng ta, mình, tớ, em",
    },
    "ru": {
        "function": "и в во не на но а я мы он она оно они ты вы что это этот эта эти того тот та те как так к ко "
        "у о об от до "
        "по с со за из изо для при про над под без через между перед или если то же ли бы был была было были быть "
        "есть будет "
        "будут его ее её их им ему ей него нее них мне меня мной мой моя нас нам наш себя свой своей своего "
        "который которая "
        "которое которые которых когда где чтобы также ещё еще уже только все всё всех вот чем тем ни да нет может "
        "можно",
        "hedge": "возможно, вероятно, наверное, видимо, может быть, пожалуй, кажется, по видимому, скорее всего, "
        "обычно, часто, "
        "иногда, относительно, примерно, как правило, в целом, довольно, в основном",
        "transition": "однако, кроме того, более того, таким образом, поэтому, следовательно, тем не менее, "
        "наконец, в итоге, "
        "например, с другой стороны, в то же время, в частности, итак, прежде всего, в связи с этим, во первых, во "
        "вторых, "
        "в заключение, вместе с тем",
        "first_person": "я, меня, мне, мной, мой, моя, моё, мои, мы, нас, нам, нами, наш, наша, наше, наши",
    },
    "bg": {
        "function": "и в във на не но а аз ние той тя то те ти вие че това този тази тези онзи как така към у за "
        "от до по с със "
        "из при над под без през между пред или ако се си е са съм сме сте беше бяха бил била било били бъде ще да "
        "ли би го "
        "му ги им й ѝ ме ми нас ни наш който която което които когато където за също още вече само всички всичко "
        "какво има "
        "няма може един една едно след като",
        "hedge": "може би, вероятно, възможно, навярно, изглежда, сякаш, обикновено, често, понякога, сравнително, "
        "донякъде, "
        "като цяло, приблизително, около",
        "transition": "обаче, освен това, следователно, така, въпреки това, накрая, в заключение, например, от "
        "друга страна, "
        "затова, поради това, същевременно, в крайна сметка, по този начин, нещо повече",
        "first_person": "аз, мен, ме, ми, мой, моя, моят, моето, моите, ние, нас, ни, наш, нашия, нашият, нашата, "
        "нашето, нашите",
    },
    "ar": {
        "function": "في من على إلى الى عن مع و أو او ثم أن ان إن لا ما لم لن هو هي هم هذا هذه ذلك تلك الذي التي "
        "الذين كان كانت "
        "يكون تكون قد كل بعض غير بين بعد قبل عند حتى إذا اذا كما لكن بل أي اي أنا انا نحن أنت وهو وهي كانوا ليس "
        "ليست فيه فيها "
        "منه منها به بها له لها عليه عليها حيث خلال أيضا ايضا منذ لأن وقد دون وفي ومن هناك عام",
        "hedge": "ربما, لعل, قد, يمكن, يبدو, تبدو, عادة, غالبا, أحيانا, تقريبا, نسبيا, من المحتمل, من الممكن, بشكل عام",
        "transition": "ومع ذلك, بالإضافة إلى ذلك, علاوة على ذلك, لذلك, وبالتالي, بالتالي, أخيرا, في الختام, على "
        "سبيل المثال, "
        "من ناحية أخرى, في المقابل, نتيجة لذلك, كما أن, بالإضافة إلى",
        "first_person": "أنا, انا, نحن, لي, لنا, عندي, معي, لدي, لدينا",
    },
    "ur": {
        "function": "کے کی کا کو میں سے نے پر اور ہے ہیں تھا تھے تھی یہ وہ اس ان کہ جو بھی ہی تو ہو ہوا ہوئی ہوئے "
        "کر کرنے "
        "گیا گئی گئے ایک اپنے اپنی اپنا لیے لئے تک ساتھ بعد پہلے جب کیا نہیں یا اگر مگر لیکن بہت کچھ کوئی ہم میرے "
        "میری میرا "
        "مجھے ہمیں آپ انہوں جس جن کسی طرح رہے رہا رہی دیا کرتے کرتا جا سکتا سکتے دوران تھیں ہوں",
        "hedge": "شاید, غالبا, ممکن, ممکنہ, لگتا ہے, معلوم ہوتا, عام طور پر, اکثر, کبھی کبھی, تقریبا, نسبتا, ہو "
        "سکتا ہے",
        "transition": "تاہم, مزید, اس کے علاوہ, لہذا, چنانچہ, اس لیے, آخر میں, مثال کے طور پر, دوسری طرف, اس کے "
        "باوجود, "
        "نتیجتا, مزید یہ کہ, اس کے برعکس",
        "first_person": "میں, مجھے, میرا, میری, میرے, ہم, ہمیں, ہمارا, ہماری, ہمارے",
    },
    "zh": {
        "function": "的 了 是 在 和 与 及 或 也 都 而 但 并 就 不 没 有 这 那 其 此 之 以 于 为 被 把 对 从 向 到 "
        "由 我 你 他 她 它 们 "
        "您 个 很 更 最 又 还 只 才 再 将 会 能 可 要 着 过 地 得 吗 呢 吧 啊 等 所 如 若 则 因 各 该 让 给",
        "hedge": "可能, 也许, 或许, 大概, 似乎, 好像, 大约, 左右, 一般, 通常, 往往, 有时, 比较, 相对, 应该, 大致",
        "transition": "然而, 但是, 不过, 此外, 另外, 因此, 所以, 同时, 首先, 其次, 最后, 总之, 例如, 比如, 其中, "
        "另一方面, 综上所述, "
        "由此可见, 总的来说, 与此同时",
        "first_person": "我, 咱, 我们, 本人, 本文, 俺",
    },
}


class Phrases(NamedTuple):
    """A list: its single words, and its phrases as `marked` writes a text."""

    single: frozenset[str]
    several: tuple[str, ...]


def marked(words: list[str]) -> str:
    """Words with a space of their own on either side: a phrase occurs in the text wherever its marked form does."""
    return f" {'  '.join(words)} " if words else ""


@lru_cache(maxsize=64)
def phrases(language: str, kind: str) -> Phrases:
    """A list as words and phrases, cut as `WORD` cuts texts.

    Raises:
        ValueError: If there is no such list.
    """
    if language not in LISTS or kind not in KINDS:
        raise ValueError(f"There is no list {kind!r} of {language!r}; kinds {KINDS}, languages {sorted(LISTS)}.")
    raw = LISTS[language][kind]
    entries = [WORD.findall(entry) for entry in (raw.split() if kind == "function" else raw.split(","))]
    single = frozenset(entry[0] for entry in entries if len(entry) == 1)
    return Phrases(single, tuple(sorted({marked(entry) for entry in entries if len(entry) > 1})))


def count_listed(language: str, kind: str, frequencies: Mapping[str, int], marked_text: str) -> int:
    """Words of a text that a list holds, and words in its phrases; time linear in the text."""
    single, several = phrases(language, kind)
    count = sum(frequencies.get(word, 0) for word in single)
    return count + sum(marked_text.count(phrase) * (phrase.count("  ") + 1) for phrase in several)


def script_of(text: str) -> str | None:
    """The script among `SCRIPTS` that has most letters of a text; None where none has any."""
    counts = {name: len(letters.findall(text)) for name, (letters, _) in SCRIPTS.items()}
    name = max(counts, key=lambda script: counts[script])
    return name if counts[name] else None


def language_of(frequencies: Mapping[str, int], script: str | None) -> str | None:
    """The language of the script whose function words are the largest share of the words; None below `MIN_SHARE`."""
    total = sum(frequencies.values())
    if script is None or not total:
        return None
    votes = {name: count_listed(name, "function", frequencies, "") for name in SCRIPTS[script][1]}
    best = max(votes, key=lambda name: votes[name])
    return best if votes[best] >= MIN_SHARE * total else None
