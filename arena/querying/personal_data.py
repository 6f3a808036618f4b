"""Mask obvious personal data in queries: e-mail addresses, card and bank numbers, phone numbers.

Each is recognised by its form and, where it has one, its check digits. Names of people have no form
and stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

KINDS: Final = {
    "email": "e-mail addresses",
    "iban": "bank account numbers (IBAN)",
    "card": "card numbers",
    "phone": "phone numbers",
}
"""What is masked: the word that takes its place, in brackets, and what people call it."""

_EMAIL = re.compile(
    r"[^\s@＠,;:<>()\[\]\"]+(?:@|＠|%40)(?:[^\s@＠,;:<>()\[\]\"/]*?\.)+(?:[^\W\d_][\w-]+)"
)
_CARD = re.compile(r"(?<!\d)[2-6](?:[ -]?\d){12,18}(?!\d)")
_IBAN = re.compile(r"(?<![^\W_])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![^\W_])", re.IGNORECASE)
_IBAN_LENGTHS: Final = range(15, 35)

_PHONES = (
    # With the code of a country: +49 30 1234567, 0049 (0)30 1234567.
    re.compile(r"(?<![\w+])(?:\+|00)[1-9](?:[ ./()-]{0,3}\d){6,14}(?!\d)"),
    # As in North America: (212) 555-0123, 212-555-0123.
    re.compile(r"(?<![\w.-])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])"),
    # With the 0 before the code of an area: 030 1234567, 01 23 45 67 89, 07911123456.
    re.compile(r"(?<![\w.-])\(?0[1-9](?:[ /()-]{0,2}\d){7,10}(?![\w-])"),
)


def masked(text: str, counts: Counter[str]) -> str:
    """Return a text without personal data that has a known form.

    Args:
        text: a query.
        counts: of what was masked, by the keys of `KINDS`; increased.
    """
    if "@" in text or "＠" in text or "%40" in text:
        text = _replaced(_EMAIL, "email", _always, text, counts)
    if sum(map(str.isdigit, text)) < 8:
        return text
    text = _IBAN.sub(partial(_iban, counts=counts), text)
    text = _replaced(_CARD, "card", _is_card, text, counts)
    for form in _PHONES:
        text = _replaced(form, "phone", _is_phone, text, counts)
    return text


def _replaced(
    form: re.Pattern[str], kind: str, fits: Callable[[str], bool], text: str, counts: Counter[str]
) -> str:
    def mask(found: re.Match[str]) -> str:
        if not fits(found[0]):
            return found[0]
        counts[kind] += 1
        return f"[{kind}]"

    return form.sub(mask, text)


def _always(_: str) -> bool:
    return True


def _is_phone(text: str) -> bool:
    """Return whether it has as many digits as numbers have (ITU-T E.164), and is no date."""
    return 9 <= sum(map(str.isdigit, text)) <= 16


def _is_card(text: str) -> bool:
    """Return whether the check digit is right (ISO/IEC 7812, after Luhn)."""
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _iban(match: re.Match[str], counts: Counter[str]) -> str:
    """Return the match with a mask where its beginning is an account number (ISO 13616).

    Words that follow it look like further parts of it.
    """
    for end in _ends(match[0]):
        compact = match[0][:end].replace(" ", "").upper()
        if len(compact) in _IBAN_LENGTHS and _has_check_digits(compact):
            counts["iban"] += 1
            return f"[iban]{match[0][end:]}"
    return match[0]


def _ends(text: str) -> Iterator[int]:
    """Yield where a part of it may end, the longest first."""
    yield len(text)
    yield from reversed([place for place, character in enumerate(text) if character == " "])


def _has_check_digits(account: str) -> bool:
    moved = account[4:] + account[:4]
    try:
        return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1
    except ValueError:
        return False
