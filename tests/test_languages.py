"""The language of a text: told for each known one, not told from too little, and a reason to abstain where it is new."""

import time

import numpy as np
import pytest

from mvh.calibration_mvh import decode_calibration, encode_calibration
from mvh.languages_mvh import LEAST_WORDS, NAMES, WORDS, dominant_language, script_and_language, scripts_and_languages
from mvh.references_mvh import Document
from mvh.voting_mvh import LEAST_OF_A_LANGUAGE, decide

TEXTS = {  # written for these tests
    "ar": "كان الصباح باردا عندما خرجت من البيت إلى السوق، ولم يكن في الشارع أحد إلا بائع الخبز الذي يقف كل يوم أمام "
    "المدرسة. سألته عن أخيه فقال إنه سافر إلى المدينة مع أولاده، وإنه لن يعود قبل الصيف. ثم اشتريت منه خبزا "
    "وعدت إلى بيتي.",
    "bg": "Сутринта беше студено, когато излязох от къщи и тръгнах към пазара. На улицата нямаше никого, освен "
    "продавача на хляб, който всеки ден стои пред училището. Попитах го за брат му, а той каза, че е заминал в "
    "града с децата си и няма да се върне преди лятото. После купих хляб и се прибрах.",
    "cs": "Ráno bylo chladno, když jsem vyšel z domu a šel na trh. Na ulici nebyl nikdo než prodavač chleba, který "
    "každý den stojí před školou. Zeptal jsem se ho na jeho bratra a on řekl, že odjel do města s dětmi a že "
    "se nevrátí dřív než v létě. Pak jsem si koupil chléb a šel jsem domů.",
    "da": "Det var koldt om morgenen, da jeg gik ud af huset og hen til torvet. Der var ikke nogen på gaden ud over "
    "manden, der sælger brød og står foran skolen hver dag. Jeg spurgte ham om hans bror, og han sagde, at han "
    "var rejst til byen med sine børn og ikke ville komme hjem før til sommer.",
    "de": "Am Morgen war es kalt, als ich aus dem Haus ging und zum Markt lief. Auf der Straße war niemand außer dem "
    "Mann, der jeden Tag vor der Schule steht und Brot verkauft. Ich fragte ihn nach seinem Bruder, und er "
    "sagte, dass er mit den Kindern in die Stadt gefahren sei und nicht vor dem Sommer zurückkomme.",
    "en": "It was cold in the morning when I left the house and walked to the market. There was nobody in the street "
    "but the man who stands in front of the school every day and sells bread. I asked him about his brother, "
    "and he said that he had gone to the city with his children and would not be back before the summer.",
    "es": "Hacía frío por la mañana cuando salí de la casa y fui al mercado. En la calle no había nadie más que el "
    "hombre que vende pan todos los días delante de la escuela. Le pregunté por su hermano y me dijo que se "
    "había ido a la ciudad con sus hijos y que no volvería antes del verano.",
    "fa": "صبح هوا سرد بود که از خانه بیرون آمدم و به بازار رفتم. در خیابان هیچ کس نبود جز مردی که هر روز در برابر "
    "مدرسه می ایستد و نان می فروشد. از او پرسیدم که برادرش کجا است و او گفت که با بچه های خود به شهر رفته است "
    "و تا تابستان بر نمی گردد.",
    "fi": "Aamulla oli kylmä, kun lähdin kotoa ja kävelin torille. Kadulla ei ollut ketään muuta kuin mies, joka "
    "seisoo joka päivä koulun edessä ja myy leipää. Kysyin häneltä veljestä, ja hän sanoi, että tämä oli "
    "lähtenyt kaupunkiin lasten kanssa eikä tule takaisin ennen kesää, mutta se on jo niin lähellä, että hän "
    "ei ole huolissaan.",
    "fr": "Il faisait froid le matin quand je suis sorti de la maison pour aller au marché. Il n'y avait personne "
    "dans la rue sauf l'homme qui vend du pain tous les jours devant l'école. Je lui ai demandé des nouvelles "
    "de son frère et il m'a dit qu'il était parti pour la ville avec ses enfants et qu'il ne reviendrait pas "
    "avant l'été.",
    "hu": "Reggel hideg volt, amikor elindultam a házból a piac felé. Az utcán nem volt senki, csak az az ember, aki "
    "minden nap ott áll az iskola előtt és kenyeret árul. Megkérdeztem, hogy van a testvére, és azt mondta, "
    "hogy elment a városba a gyerekekkel, és nem is jön meg a nyár előtt, de ez már nincs messze.",
    "id": "Pagi itu udara dingin ketika saya keluar dari rumah dan pergi ke pasar. Di jalan tidak ada orang selain "
    "laki-laki yang menjual roti di depan sekolah setiap hari. Saya bertanya kepadanya tentang adiknya, dan "
    "dia mengatakan bahwa adiknya sudah pergi ke kota dengan anak-anaknya dan tidak akan kembali sebelum tahun "
    "depan.",
    "it": "Faceva freddo la mattina quando sono uscito di casa per andare al mercato. Nella strada non c'era nessuno "
    "tranne l'uomo che vende il pane ogni giorno davanti alla scuola. Gli ho chiesto di suo fratello e mi ha "
    "detto che era partito per la città con i figli e che non sarebbe tornato prima dell'estate.",
    "nl": "Het was koud in de ochtend toen ik uit het huis kwam en naar de markt liep. Er was niemand op straat dan "
    "de man die elke dag voor de school staat en brood verkoopt. Ik vroeg hem naar zijn broer en hij zei dat "
    "hij met de kinderen naar de stad was gegaan en niet voor de zomer terug zou zijn.",
    "pl": "Rano było zimno, kiedy wyszedłem z domu i poszedłem na targ. Na ulicy nie było nikogo oprócz człowieka, "
    "który codziennie stoi przed szkołą i sprzedaje chleb. Zapytałem go o jego brata, a on powiedział, że "
    "wyjechał do miasta z dziećmi i że nie wróci przed latem. Potem kupiłem chleb i już się nie zatrzymywałem.",
    "pt": "Fazia frio de manhã quando eu saí de casa e fui ao mercado. Na rua não havia ninguém, só o homem que "
    "vende pão todos os dias em frente da escola. Eu perguntei pelo seu irmão e ele disse que tinha ido para a "
    "cidade com os filhos e que não voltava antes do verão, mas que já não era muito tempo.",
    "ro": "Era frig dimineața când am ieșit din casă și am mers la piață. Pe stradă nu era nimeni în afară de omul "
    "care vinde pâine în fiecare zi în fața școlii. L-am întrebat de fratele lui și a spus că a plecat la oraș "
    "cu copiii și că nu se întoarce până la vară, dar că este bine și că ei sunt sănătoși.",
    "ru": "Утром было холодно, когда я вышел из дома и пошёл на рынок. На улице не было никого, кроме человека, "
    "который каждый день стоит перед школой и продаёт хлеб. Я спросил его о брате, и он сказал, что тот уехал "
    "в город с детьми и не вернётся раньше лета. Потом я купил хлеб и пошёл к себе домой.",
    "sr": "Јутрос је било хладно када сам изашао из куће и кренуо на пијацу. На улици није било никога осим човека "
    "који сваки дан стоји пред школом и продаје хлеб. Питао сам га за брата, а он је рекао да је отишао у град "
    "са децом и да се неће вратити пре лета. Онда сам купио хлеб и све је било у реду.",
    "sv": "Det var kallt på morgonen när jag gick ut ur huset och bort till torget. Det fanns ingen på gatan utom "
    "mannen som står framför skolan varje dag och säljer bröd. Jag frågade honom om hans bror, och han sade "
    "att han hade rest till staden med sina barn och inte skulle komma hem före sommaren.",
    "tr": "Sabah evden çıkıp pazara gittiğimde hava çok soğuktu. Sokakta her gün okulun önünde duran ve ekmek satan "
    "adamdan başka kimse yok gibi bir hal vardı. Ona kardeşini sordum, o da çocukları ile şehre gittiğini ve "
    "yaz gelene kadar dönmeyeceğini söyledi. Sonra bir ekmek aldım ve eve döndüm, ama bu kadar soğuk için daha "
    "ne demek olur bilmem.",
    "uk": "Вранці було холодно, коли я вийшов з дому і пішов на ринок. На вулиці не було нікого, крім чоловіка, який "
    "щодня стоїть біля школи та продає хліб. Я запитав його про брата, і він сказав, що той поїхав до міста з "
    "дітьми і вже не повернеться до літа. Потім я купив хліб, але ще не пішов додому.",
    "ur": "صبح سردی تھی جب میں گھر سے نکل کر بازار کی طرف گیا۔ گلی میں کوئی نہیں تھا سوائے اس آدمی کے جو ہر روز "
    "اسکول کے سامنے کھڑا ہو کر روٹی بیچتا ہے۔ میں نے اس سے اس کے بھائی کے بارے میں پوچھا تو اس نے کہا کہ وہ "
    "بچوں کے ساتھ شہر گیا ہے اور گرمی سے پہلے نہیں آئے گا۔",
    "vi": "Buổi sáng trời lạnh khi tôi ra khỏi nhà và đi đến chợ. Trên đường không có ai ngoài người đàn ông đứng "
    "bán bánh mì trước trường học mỗi ngày. Tôi hỏi về em của ông ấy và ông nói rằng người em đã đi lên thành "
    "phố với các con và sẽ không về trước mùa hè.",
    "zh": "早上我从家里出来去市场的时候天气很冷，街上没有人，只有那个每天在学校门口卖面包的人。我问他弟弟怎么样了，他"
    "说弟弟和孩子们到城里去了，夏天以前不会回来。后来我买了面包，就回到自己的家里了。",
}  # fmt: skip


def test_every_known_language_has_a_text_and_words():
    assert set(TEXTS) == set(NAMES) == {name for words in WORDS.values() for name in words}


@pytest.mark.parametrize("language", NAMES)
def test_a_language_is_told(language):
    assert dominant_language(TEXTS[language]) == language
    assert dominant_language(TEXTS[language].upper()) == language


def test_too_little_says_nothing():
    words = TEXTS["de"].split()
    assert dominant_language(" ".join(words[: LEAST_WORDS - 1])) == ""
    for text in ("", "12 34 " * 50, "x = f(y)\n" * 50, "Ο άνθρωπος πήγε στην αγορά και δεν γύρισε " * 9):
        assert dominant_language(text) == ""


def test_quotations_do_not_change_it():
    assert dominant_language(TEXTS["en"] + " " + TEXTS["fr"][:120]) == "en"


def test_another_language_is_told_from_a_fifth_of_the_words_on():
    english, german = (f"{TEXTS[name]} " for name in ("en", "de"))
    half = english * 6 + german * 6
    assert scripts_and_languages(half)[1:] in [("en", ["de"]), ("de", ["en"])]
    assert scripts_and_languages(english * 10 + german)[1:] == ("en", [])
    assert scripts_and_languages(english * 10)[1:] == ("en", []) and scripts_and_languages("")[1:] == ("", [])
    assert scripts_and_languages(english * 10 + german * 6)[1:] == ("en", ["de"])
    assert scripts_and_languages(TEXTS["ru"] * 4 + " " + TEXTS["uk"] * 3)[1:] == ("ru", ["uk"])
    assert scripts_and_languages(english * 6 + f"{TEXTS['uk']} " * 4)[1:] == ("en", ["uk"]), "in another script, too"
    short = " ".join([*english.split()[:44], *german.split()[:44]])
    assert scripts_and_languages(short)[2] == [], "one window has one language"


def test_the_whole_text_counts_and_time_does_not_grow_with_it():
    assert dominant_language(TEXTS["fr"] + TEXTS["en"] * 200) == "en"
    long = TEXTS["en"] * 40_000  # some 12 MB
    started = time.perf_counter()
    assert dominant_language(long) == "en" and time.perf_counter() - started < 0.5


@pytest.mark.parametrize("invisible", ["\u200b", "\u2060", "\u00ad"])
def test_a_disguise_of_letters_hides_no_language(invisible):
    """Letters one by one were once read as words: e, a, y, o, i made an English text Spanish and its verdict uncertain."""
    assert dominant_language(invisible.join(TEXTS["en"])) == "en"
    assert dominant_language(TEXTS["en"].replace("a", "\u0430").replace("e", "\u0435")) == "en"


def documents(languages, seed):
    rng = np.random.default_rng(seed)
    return [Document(rng.normal(size=2), np.full(2, 256), "latin", language) for language in languages]


def calibrated(languages):
    sides = (documents(languages, 0), documents(languages, 1))
    return decode_calibration(encode_calibration(*sides, {"population": "a test"}))


def warnings_of(language, calibration):
    margins = np.array([9.0, 9.0])
    document = Document(margins, np.full(2, 256), "latin", language)
    result = decide(document, calibration, alpha=0.05, correction="bh", vote="calibrated", p_values="conformal")
    return result["label"], [warning for warning in result["warnings"] if "The text is in" in warning]


def test_a_language_the_calibration_never_saw_is_no_verdict():
    calibration = calibrated(["en"] * 60 + [""] * 5 + ["fr"] * 2)
    assert calibration.languages == {"en": 120, "fr": 4}
    assert warnings_of("en", calibration) == (1, []) and warnings_of("", calibration) == (1, [])
    label, said = warnings_of("de", calibration)
    assert label is None and said == [
        "The text is in German, and the calibration saw only English: how often the detector errs on it is not known."
    ]
    assert 4 < LEAST_OF_A_LANGUAGE and warnings_of("fr", calibration)[0] is None, "a few strays are not enough"


@pytest.mark.parametrize(("others", "label"), [(("de", "fr"), None), (("en",), 1), ((), 1)])
def test_a_text_partly_in_a_language_the_calibration_never_saw_is_no_verdict(others, label):
    document = Document(np.array([9.0, 9.0]), np.full(2, 256), "latin", "en", other_languages=others)
    options = {"alpha": 0.05, "correction": "bh", "vote": "calibrated", "p_values": "conformal"}
    result = decide(document, calibrated(["en"] * 60), **options)
    assert result["label"] == label and bool(result["doubts"]) == (label is None)
    assert all("A good part of the text is in German and French" in doubt for doubt in result["doubts"])
    assert decide(document, calibrated([""] * 60), **options)["label"] == 1, (
        "where nobody looked every language is judged"
    )


def test_a_calibration_that_knows_no_language_judges_every_one():
    assert warnings_of("de", calibrated([""] * 60)) == (1, [])


def test_an_unknown_language_in_a_calibration_is_refused():
    packed = encode_calibration(documents(["en"] * 30, 0), documents(["en"] * 30, 1), {"population": "a test"})
    for languages in ({"xx": 3}, {"en": 0}, {"en": "3"}, ["en"]):
        with pytest.raises(ValueError):
            decode_calibration({**packed, "languages": languages})


def test_a_disguised_text_is_in_the_script_that_it_is_read_in():
    for disguised in (
        TEXTS["en"].translate(str.maketrans("aeopcxiys", "аеорсхіуѕ")),
        "".join(chr(0x1D41A + ord(c) - 97) if "a" <= c <= "z" else c for c in TEXTS["en"]),
        "".join(chr(0xFF41 + ord(c) - 97) if "a" <= c <= "z" else c for c in TEXTS["en"]),
    ):
        assert script_and_language(disguised) == script_and_language(TEXTS["en"]) == ("latin", "en")
    assert script_and_language(TEXTS["ru"]) == ("cyrillic", "ru")


def test_a_detector_that_folds_nothing_is_told_the_script_it_reads():
    disguised = "".join(chr(0x1D41A + ord(c) - 97) if "a" <= c <= "z" else c for c in TEXTS["en"])
    assert script_and_language(disguised, [])[0] == "mathematical" and script_and_language(disguised)[0] == "latin"
