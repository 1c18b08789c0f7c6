"""The note of a chapter whose sentences tell of the models and images that come with the book."""

from hierlib.book.page import glue

BOOK = "Fashion-MNIST and the models that come with the book"


def models_note(usual: bool, data: str) -> None:
    """Glues `models-note`: whether the sentences of the page, which are written for its defaults, tell of this run.

    Args:
        usual: this run has the book's own models, images and U-turns.
        data: the models and images of this run, in words.
    """
    note = f"The sentences and figures of this page are about {BOOK}."
    if not usual:
        note = (
            f"This run has other models, images or U-turns: {data}. Numbers and figures are its own; sentences that "
            f"say what they show were written for {BOOK}."
        )
    glue.text("models-note", note)
