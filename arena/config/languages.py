"""The languages of BM25's stems, by name or ISO code."""

from __future__ import annotations

from typing import Final

_CODES: Final = {
    "arabic": "ar",
    "armenian": "hy",
    "basque": "eu",
    "catalan": "ca",
    "czech": "cs",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "esperanto": "eo",
    "estonian": "et",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "greek": "el",
    "hindi": "hi",
    "hungarian": "hu",
    "indonesian": "id",
    "irish": "ga",
    "italian": "it",
    "lithuanian": "lt",
    "nepali": "ne",
    "norwegian": "no",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "serbian": "sr",
    "sesotho": "st",
    "spanish": "es",
    "swedish": "sv",
    "tamil": "ta",
    "turkish": "tr",
    "yiddish": "yi",
}

LANGUAGES: Final = tuple(_CODES)
"""The languages for which Snowball (https://snowballstem.org) has a stemmer."""

_NAMES: Final = {code: name for name, code in _CODES.items()}
_NORWEGIAN: Final = {"nb": "norwegian", "nn": "norwegian"}


def language_name(given: str) -> str:
    """Return the stemmer's name of a language: ``"nb-NO"`` → ``"norwegian"``.

    Raises:
        ValueError: there is no stemmer for it.
    """
    word = given.strip().lower()
    name = {**_NAMES, **_NORWEGIAN}.get(word.replace("_", "-").partition("-")[0], word)
    if name not in _CODES:
        raise ValueError(f'no stemmer for "{given}"; known are {", ".join(LANGUAGES)}')
    return name
