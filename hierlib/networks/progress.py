"""A progress line: what is done, how fast, how long it still takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO


class Progress:
    """Shows ``label 128/512 images  25 %  40 images/s  0:10 left`` as a job goes on.

    On a terminal one line is rewritten; into a file or a pipe a line is added every half minute.

    Args:
        label: what is being done.
        total: number of units of the whole job.
        done: units that were done before (a resumed job); they don't count for the speed.
        unit: name of a unit.
        file: stream, standard error by default; None of it is shown if `show` is False.
        show: whether to print at all.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        done: int = 0,
        unit: str = "images",
        file: TextIO | None = None,
        show: bool = True,
        clock: Callable[[], float] | None = None,
    ):
        self.label, self.total, self.unit, self.show = label, total, unit, show
        self.file = sys.stderr if file is None else file
        self.clock = clock or time.monotonic
        self.first, self.done = done, done
        self.start = self.clock()
        self._shown = float("-inf")
        self._follows = False

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` units of the whole job are done; `note` (a loss, say) is shown with them."""
        self.done = done
        live = self.file.isatty()
        now = self.clock()
        if self.show and (now - self._shown >= (0.2 if live else 30) or done >= self.total):
            self._shown = now
            self.file.write(
                ("\r\x1b[K" if live else "") + self.line(note) + ("" if live and done < self.total else "\n")
            )
            self.file.flush()

    def follow(self, done: int, note: str = "") -> None:
        """As `update`, for a job that an earlier call may have begun: the first number is where this one started."""
        if not self._follows:
            self._follows, self.first, self.start = True, done, self.clock()
        self.update(done, note)

    def skip(self, units: int) -> None:
        """Say that some units were found done; they don't count for the speed."""
        self.first += units
        self.done += units

    def line(self, note: str = "") -> str:
        """The text that is shown."""
        seconds = max(self.clock() - self.start, 1e-9)
        speed = (self.done - self.first) / seconds
        left = duration((self.total - self.done) / speed) if speed else "?"
        words = [self.label, f"{self.done:,}/{self.total:,} {self.unit}", f"{self.done / max(self.total, 1):4.0%}"]
        return "  ".join([*words, f"{speed:,.1f} {self.unit}/s", f"{left} left", *([note] if note else [])])


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> duration(3725), duration(59)
    ('1:02:05', '0:59')
    """
    minutes, s = divmod(round(seconds), 60)
    h, m = divmod(minutes, 60)
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d}"
