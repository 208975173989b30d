"""Firefox on Linux: what a browser says about itself, in words. A help to recognise a session by, and no proof."""

_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def words_for(user_agent: str | None) -> str:
    text = user_agent or ""
    browser = next((word for sign, word in _BROWSERS if sign in text), None)
    system = next((word for sign, word in _SYSTEMS if sign in text), None)
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "A program" if text else "Unknown"
