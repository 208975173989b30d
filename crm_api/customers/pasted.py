"""An address that was pasted into a form together with its name: `"Holt, Ida" <ida@example.com>`."""

from collections.abc import Mapping

from crm_api.web.forms import address_of


def taken_apart(values: Mapping[str, str], shown: Mapping[str, str]) -> dict[str, str]:
    """The fields of a person with the address alone in `email`, and the name where it belongs if none is given.

    shown: what stands in the fields that `values` leaves out. Raises Invalid for several addresses.
    """
    email = values.get("email", "")
    name, address = address_of(email)
    if address == email:
        return dict(values)
    person = {**shown, **values}
    if not name or person.get("first_name", "").strip() or person.get("last_name", "").strip():
        return dict(values) | {"email": address}
    first, last = split_name(name)
    return dict(values) | {"email": address, "first_name": first, "last_name": last}


def split_name(name: str) -> tuple[str, str]:
    """(first, last) of Ida Holt, or of Holt, Ida."""
    last, comma, first = name.partition(",")
    if comma and "," not in first:
        return first.strip(), last.strip()
    words = name.split()
    return (" ".join(words[:-1]), words[-1]) if len(words) > 1 else (name, "")
