"""`hierlib images`: the commands of the library, and the figure, which is drawn in the style of the book."""

from hierlib.book.figures.imagenet import figure
from hierlib.images.commands import app

app.command("figure")(figure)
