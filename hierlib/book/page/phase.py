"""The note of a chapter whose sentences tell of one phase of the grammar: whether this run is in it."""

from hierlib.book.page import glue
from hierlib.theory import meanfield

PAPER = (32, 8, 2, 10)  # v, m, s, L of the paper's figures
_PHASES = {
    "below": "has a threshold",
    "always": "keeps the class of a deep tree at any noise",
    "never": "loses the class of a deep tree at any noise",
}


def phase_note(v: int, m: int, s: int, L: int, *, usual: tuple[int, int, int, int] = PAPER) -> None:
    """Glues `phase-note`: whether the sentences of the page, which are written for its defaults, tell of this run.

    Args:
        v, m, s, L: the grammar of this run.
        usual: that of the chapter's defaults.
    """
    whose = "the paper's grammar" if usual == PAPER else "the grammar of its defaults"
    note = f"The sentences and figures below are those of {whose}."
    if (v, m, s, L) != usual:
        phase = _PHASES[str(meanfield.phase(v, m, s))]
        note = (
            f"This run has another grammar, v = {v}, m = {m}, s = {s}, L = {L}, which {phase}. Numbers and figures "
            f"are its own; sentences that say what they show were written for {whose}."
        )
    glue.text("phase-note", note)
