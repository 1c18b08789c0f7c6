"""Words and passages: they are those of the text, whatever script it is in, and a file that is none is named."""

import codecs

import pytest
import torch
import xarray as xr

from hierlib.text.corpus import MASK, RARE, Corpus, Vocabulary, join, read_passages, shuffled, spaced, split
from hierlib.text.model import TextModel
from tests import texts
from tests.texts import LENGTH, MODELS, SENTENCES


@pytest.mark.parametrize("text", [*SENTENCES, "Is it so? “Aye,” said he (the king's man).", "Ἐν ἀρχῇ ἦν ὁ λόγος,", ""])
def test_words_make_the_text_again(text):
    vocabulary = Vocabulary.of(split(text) or ["a", "b"], 100)
    tokens = vocabulary.encode(text)
    assert tokens.dtype == torch.int64 and (tokens > RARE).all()
    words = vocabulary.decode(tokens)
    assert words == split(text) and split(join(words)) == words
    if "“" not in text:  # where quotation marks stick is not known from the marks alone
        assert join(words) == text


@pytest.mark.parametrize(
    "text, count",
    [
        ("तब परमेश्वर ने कहा, प्रकाश हो।", 8),  # Hindi: vowel signs, a virama, a full stop of its own
        ("ஆதியிலே வார்த்தை இருந்தது.", 4),  # Tamil
        ("في البَدءِ كانَ الكَلِمَة،", 5),  # Arabic with vowels
        ("בְּרֵאשִׁית בָּרָא אֱלֹהִים", 3),  # Hebrew with points
        ("می\u200cگویم و نمی\u200cروم؟", 4),  # Persian: letters parted within a word
        ("ve\u0301te\u0301 nai\u0308f, Do\u0308rfer", 4),  # accents as signs of their own
        ("Donau\u00addampf\u00adschiff fährt.", 3),  # where a word may be hyphenated
        ("❤\ufe0f x\u0304 = 2", 4),
    ],
)
def test_words_stay_whole_in_every_script(text, count):
    assert len(split(text)) == count and join(split(text)) == text


def test_words_of_the_committed_model_are_words():
    """Its vocabulary and windows are those of the text: each is one piece, and put together again the same pieces."""
    model = TextModel.load(MODELS / "kjv.safetensors")
    assert all(split(word) == [word] for word in model.vocabulary.words)
    with xr.open_dataset(MODELS / "uturns.nc") as file:
        starts = file.start.values
    for row in starts.tolist():
        words = [w for w in model.vocabulary.decode(row) if w != "…"]
        assert split(join(words)) == words


def test_rare_and_erased_words():
    vocabulary = Vocabulary.of(["a", "b", "b", "c", "c", "d"], 4)
    assert vocabulary.words[2:] == ("b", "c")  # the most frequent, then by the alphabet
    assert vocabulary.encode(["a", "b", "▒"]).tolist() == [RARE, 2, MASK]
    assert "".join(spaced(vocabulary.decode([2, RARE]))) == "b …"


def test_passages_are_paragraphs_or_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\ufeffone two\nthree\n \n\nfour", encoding="utf-8")
    assert read_passages(path) == [[["one", "two"], ["three"]], [["four"]]]
    path.write_text("one two\nthree\n", encoding="utf-8")
    assert read_passages(path) == [[["one", "two"]], [["three"]]]
    for end in (b"\r\n", b"\r"):  # Windows, and a Mac of long ago
        path.write_bytes(codecs.BOM_UTF8 + end.join([b"one two", b"three", b"", b"four"]))
        assert read_passages(path) == [[["one", "two"], ["three"]], [["four"]]]


def test_words_that_look_alike_are_the_same(tmp_path):
    """Accents as signs of their own or not, with the marks that each file of several put together starts with."""
    path = tmp_path / "a.txt"
    path.write_text("\ufeff\ufeffé e\u0301.\n\n\ufeffÅ A\u030a\u212b\n\nend.\ufeffmore", encoding="utf-8")
    assert read_passages(path) == [[["é", "é", "."]], [["Å", "ÅÅ"]], [["end", ".", "more"]]]
    vocabulary = Vocabulary.of(["é", "Å"], 4)
    assert vocabulary.decode(vocabulary.encode("e\u0301 \u212b")) == ["é", "Å"]


def test_an_ellipsis_is_a_rare_word_and_no_erased_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(f"so … it is {i % 3}" for i in range(40)), encoding="utf-8")
    corpus = Corpus.read(path, length=4, vocabulary=20, every=4)
    for words in (*corpus.train, *corpus.held_out):
        assert words[1] == RARE and (words != MASK).all()


def test_shuffling_keeps_the_words_of_each_line(tmp_path):
    passages = read_passages(texts.write(tmp_path / "text.txt"))
    other = shuffled(passages, 1)
    assert other == shuffled(passages, 1) != passages
    for a, b in zip(passages, other, strict=True):
        assert [sorted(line) for line in a] == [sorted(line) for line in b]


def test_nothing_held_out_is_trained_on(tmp_path):
    file, corpus = texts.write(tmp_path / "text.txt"), texts.corpus()
    assert len(corpus.train) == 48 and len(corpus.held_out) == 12 and not corpus.skipped
    x, passage = corpus.windows(20)
    assert x.shape == (20, LENGTH) and passage.unique().numel() == 12
    for row, p in zip(x, passage):
        assert any(torch.equal(row, w) for w in corpus.held_out[p].unfold(0, LENGTH, LENGTH))
    again = Corpus.read(file, length=LENGTH, vocabulary=40, every=5, shuffle=True)
    assert again.vocabulary == corpus.vocabulary and again.sha256 != corpus.sha256


@pytest.mark.parametrize(
    "content, options, why",
    [
        (None, {}, "nothing there; check the path"),
        (b"\xff\xfa", {}, "UTF-8 text, got other bytes.*iconv"),
        (codecs.BOM_UTF16_LE + "a b c".encode("utf-16-le"), {}, "UTF-8 text, got UTF-16 or UTF-32.*iconv"),
        ("a b c".encode("utf-16-be"), {}, "a binary file"),
        ("Märchen".encode("latin-1"), {}, "UTF-8 text, got other bytes.*iconv"),
        (b"", {}, "expected words, got none"),
        (codecs.BOM_UTF8, {}, "expected words, got none"),
        (b" \n\n ", {}, "expected words, got none"),
        (b"a b c\n\nd\0", {}, "a binary file"),
        (b"a b c\n\nd e", {}, "at least 20 passages of 8 words, got 0 of 2; .*shorten"),
        (b"a b c", dict(length=1), "length and every of at least 2"),
        (
            "a ▒ b\n\nc d".encode(),
            {},
            "text without the sign ▒, .* erased word here, got it as a word",
        ),
        (b"a b\n\nc d", dict(length=2, every=2, vocabulary=3), "size: expected at least 4"),
    ],
)
def test_bad_text(tmp_path, content, options, why):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=why):
        Corpus.read(path, **dict(length=8, vocabulary=40) | options)
