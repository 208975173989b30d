"""What goes wrong while putting the parts together, said in one sentence a person can act on."""


class LocalError(Exception):
    """Something on this machine is missing or in the way; the text says what to do."""


class Unavailable(LocalError):
    """A part (RabbitMQ, PostgreSQL, Chromium) can neither be found nor installed here."""
