"""The live text of the chapter on text: it says what has changed."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from hierlib.book.figures import words
from tests.engine import node


def test_the_live_text_says_what_has_changed():
    texts, gone = [["In", "it", ",", "he"], ["In", "a", ",", "she"], ["An", "it", ".", "he"]], np.zeros((3, 4), bool)
    gone[1:, 1:] = gone[2, 0] = True
    assert words.states(texts, gone).tolist() == [[0, 0, 0, 0], [0, 2, 1, 2], [2, 1, 2, 1]]
    markup = words.words_html([0, 0.5, 1], texts, gone, start=1)
    data = json.loads(re.search(r'application/json">(.*?)</script>', markup, re.S)[1])
    assert data["words"][1] == ["In", " a", ",", " she"]
    said = node("return [0, 1].map((i) => T.sentence(data, i));", data, "words.js")
    assert "4 words" in said[0] and said[1] == "3 of 4 were erased: 1 came back the same, 2 as others."
    fig = words.page([0, 0.5, 1], texts, gone, [0, 2])
    assert [x.get_text() for x in fig.texts] == ["start", "$t$ = 1", "In", "it", ",", "he", "An", "it", ".", "he"]
    plt.close(fig)


@pytest.mark.parametrize(
    "t, texts, gone, why",
    [
        ([0, 1], [["a", "b"], ["a"]], np.zeros((2, 2)), "equally long"),
        ([0, 1], [["a"], ["a"]], np.ones((2, 1)), "none in the first"),
        ([0, 1], [["a"], ["b"]], np.zeros((2, 1)), "not erased"),
        ([0, 0], [["a"], ["a"]], np.zeros((2, 1)), "increasing fractions"),
    ],
)
def test_texts_that_do_not_fit(t, texts, gone, why):
    with pytest.raises(ValueError, match=why):
        words.words_html(t, texts, gone)
