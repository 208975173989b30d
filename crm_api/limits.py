"""The most that a request may hold of anything, said where it comes in, so that it is refused before any work.

These are ceilings, far above what people need. What may stand in a field is the rule of its room, which says so in a
sentence of its own; what an administrator may allow ends here, too (crm_api.settings).
"""

MAX_INTEGER = 2**63 - 1  # what both databases can hold

# one message
MAX_RECIPIENTS = 10_000
MAX_BODY_CHARACTERS = 4 * 1024 * 1024  # of markdown, text or HTML
MAX_FILE_BYTES = 100 * 1024 * 1024
MAX_FILES = 50

MAX_ADDRESS = 320  # of a mail address as it is typed: 64 and 255 with the @ (RFC 5321, section 4.5.3.1)
MAX_NEXT = 8000  # of an address here that somebody wants to go on to
MAX_FILENAME = 200

# forms
MAX_CHIPS = 1000  # recipients in a form, each a field of its own
MAX_SEPARATORS = 4 * MAX_CHIPS  # in such a list: names have commas, too
MAX_TYPED = 256 * 1024  # characters of a list of addresses
MAX_FORM_FIELDS = 2 * MAX_CHIPS + MAX_FILES + 50
MAX_FIELD_BYTES = 1024 * 1024
