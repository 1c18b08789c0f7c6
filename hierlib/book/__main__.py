"""``python -m hierlib.book`` is the command `hierlib`."""

from hierlib.book.cli import app

if __name__ == "__main__":
    app()
