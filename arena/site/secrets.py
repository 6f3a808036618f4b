"""Make an arena.toml publishable: without keys, passwords and unknown values.

Keys are in the environment by construction. But an address can contain a password or a token, and a
command or an extra field of a request can contain anything.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from arena.endpoint.address_and_key import without_query
from arena.redaction import blank, names_secret

HIDDEN: Final = "(hidden)"

_URL: Final = re.compile(r"\bhttps?://[^\s\"'<>]+", re.IGNORECASE)
_USER: Final = re.compile(r"(?<=://)[^/?#]*@")
# A name begins where no other goes on, so that a text of one long word is read once.
_NAME: Final = r"(?<![\w-])(?P<name>[\w-]+)"
_SETTING: Final = re.compile(
    _NAME + r"""(?P<sign>["']?\s{0,9}[=:]\s{0,9})"""
    r"""(?P<value>"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[^\s"'\[{(,;)}\]][^\s"',;)}\]]*)"""
)
_OPTION: Final = re.compile(
    r"(?<![\w-])(?P<name>-[\w-]+)(?P<sign>=|\s{1,9})(?P<value>'[^'\n]*'|(?!-)[^\s\"']+)"
)
_COMMAND: Final = re.compile(
    r"""(?P<key>(?<![\w-])["']?(?:command|reader)["']?\s{0,9}=\s{0,9})(?P<value>"""
    r'''"""(?:[^"\\]|\\.|"(?!""))*"""|'''
    r"""'''(?:[^']|'(?!''))*'''|"(?:\\.|[^"\\\n])*"|'[^'\n]*')""",
    re.DOTALL,
)
_PLAIN_WORD: Final = re.compile(
    r"[a-z_-]{1,20}|\{(?:dataset|file)\}|[\w./~{}@+-]*(?:/|\.[a-z]{1,6}$)[\w./~{}@+-]*",
    re.IGNORECASE,
)
_FIGURE: Final = re.compile(r"\d{1,6}(?:\.\d{1,6})?")


def publishable(text: str) -> str:
    """Return the text of a configuration without passwords, tokens and address queries."""
    text = _COMMAND.sub(_with_shown_command, text)
    text = _URL.sub(lambda url: without_query(_USER.sub("", url[0])), text)
    return blank(_OPTION.sub(_without_value, _SETTING.sub(_without_value, text)))


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return a section of a configuration, a line for each setting, to be published."""
    lines = (f"{name} = {orjson.dumps(value).decode()}" for name, value in settings.items())
    return publishable("\n".join(lines))


def shown_command(command: str) -> str:
    """Return a publishable command: the program and its options, without their values.

    Nobody can know which option of somebody's program holds a key. So a value is shown only where
    it is a small figure of an option whose name speaks of no secret; and a word of its own only
    where it is a plain one or the name of a file.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return HIDDEN
    return " ".join(_shown_words(words))


def _shown_words(words: list[str]) -> Iterator[str]:
    option = ""
    for number, word in enumerate(words):
        name, sign, value = word.partition("=")
        if word.startswith("--"):
            yield f"{name}={_value(name, value)}" if sign else name
            option = "" if sign else name
        elif word.startswith("-") and len(word) > 1:
            yield word if len(word) == 2 else f"{word[:2]}{HIDDEN}"
            option = word[:2]
        elif option:
            yield _value(option, word)
            option = ""
        elif sign and re.fullmatch(r"\w+", name):
            yield f"{name}={HIDDEN}"
        elif _PLAIN_WORD.fullmatch(word):
            yield word
        else:
            yield shlex.quote(word) if number == 0 else HIDDEN


def _value(option: str, value: str) -> str:
    harmless = option.startswith("--") and not names_secret(option)
    return value if harmless and _FIGURE.fullmatch(value) else HIDDEN


def _with_shown_command(match: re.Match[str]) -> str:
    try:
        command = tomllib.loads(f"command = {match['value']}")["command"]
    except tomllib.TOMLDecodeError:
        return f'{match["key"]}"{HIDDEN}"'
    return match["key"] + orjson.dumps(shown_command(command)).decode()


def _without_value(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    if not names_secret(name):
        return match[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{name}{match['sign']}{quote}{HIDDEN}{quote}"
