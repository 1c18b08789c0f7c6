"""What is said to who asks for what cannot be done."""


class BadRequest(ValueError):
    """What was asked for cannot be done; the message says why and what can be."""
