"""Numbers and foreign text, as they appear on the page; everything foreign is escaped here.

It refuses to pass on control characters, among them those that reorder text.
"""

import html
import math
import unicodedata

_MAX_TEXT = 160  # characters of a foreign text: a table stays readable, and the page small
_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def escape(text: str) -> str:
    """Text for an element or a quoted attribute, without control characters."""
    shown = "".join("\ufffd" if unicodedata.category(c) in _CONTROLS else c for c in text)
    return html.escape(shown, quote=True)


def foreign(text: str) -> str:
    """Text from the file: shortened, without control characters, isolated from its surroundings."""
    short = text[:_MAX_TEXT] + ("…" if len(text) > _MAX_TEXT else "")
    return f"<bdi>{escape(short)}</bdi>"


def amount(value: float) -> str:
    """A number with three significant digits, or all digits of an integer."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def compact(number: int) -> str:
    """An integer that fits a tile: ``12,345``, ``685.4 M``."""
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M")):
        if number >= 100 * size or (number >= size > 10**6):
            return f"{number / size:,.1f} {unit}"
    return f"{number:,}"


def seconds(value: float) -> str:
    """A duration: ``0.25 ms``, ``120 ms``, ``2.5 s``, ``2 min 5 s``, ``3 h 20 min``."""
    if value < 0.9995:
        return f"{value * 1000:.3g} ms" if value > 0 else "0 s"
    if value < 89.5:
        return f"{value:.3g} s"
    whole = round(value)
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def money(usd: float) -> str:
    """US dollars, with enough digits for small amounts."""
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def share(part: float, whole: float) -> str:
    """A percentage; never 100 % or 0 % of what is not all or nothing."""
    if not whole or part == 0:
        return "0 %"
    percent = 100 * part / whole
    if part == whole:
        return "100 %"
    digits = 0 if 10 <= percent <= 90 else max(0, min(4, 1 - math.floor(math.log10(percent))))
    if percent > 90:
        digits = max(1, min(4, 1 - math.floor(math.log10(100 - percent))))
    return f"{percent:.{digits}f} %"


def plural(number: int, noun: str, plural_form: str = "") -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun if number == 1 else plural_form or noun + 's'}"
