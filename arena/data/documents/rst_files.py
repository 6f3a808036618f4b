"""Read reStructuredText (.rst) by docutils, without any file, page or program that it names.

Directives and roles that docutils does not know (those of Sphinx and its extensions) keep their
text: a directive's content is read as part of the page, a role's text as words.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final

from arena.data.documents.cleaning import without_data
from arena.data.documents.file_text import FileText, decoded
from arena.data.documents.html_text import page_text
from arena.optional import needed

_TARGET = re.compile(r"\s*<[^<>]*>\s*\Z")
_SETTINGS: Final = {
    "_disable_config": True,
    "embed_stylesheet": False,
    "file_insertion_enabled": False,
    "halt_level": 6,
    "line_length_limit": 10**8,
    "math_output": "LaTeX",
    "raw_enabled": False,
    "report_level": 5,
    "stylesheet_path": None,
    "syntax_highlight": "none",
}


def read_rst(raw: bytes) -> FileText:
    """Read a reStructuredText file.

    Raises:
        UnreadableError: it is no text.
        UsageError: a package is not installed.
    """
    text = without_data(decoded(raw))
    core = needed("docutils.core", "reading .rst")
    _know_every_name()
    parts = core.publish_parts(text, writer="html5", settings_overrides=_SETTINGS)
    _, markdown = page_text(f"<main>{parts['html_body']}</main>")
    return FileText("", markdown, markdown=True)


@functools.cache
def _know_every_name() -> None:
    """Make docutils read directives and roles that it has no implementation of.

    Sphinx replaces the same two functions. This runs in a process that only reads files.
    """
    rst = needed("docutils.parsers.rst", "reading .rst")
    directives = needed("docutils.parsers.rst.directives", "reading .rst")
    roles = needed("docutils.parsers.rst.roles", "reading .rst")
    directive_of, role_of = directives.directive, roles.role

    class Unknown(rst.Directive):  # type: ignore[misc, name-defined]
        has_content = True
        optional_arguments = 1
        final_argument_whitespace = True
        option_spec = _AnyOption()

        def run(self) -> list[Any]:
            """Return the argument as a paragraph, and the content as what it is."""
            nodes = needed("docutils.nodes", "reading .rst")
            container = nodes.container()
            if self.arguments:
                words, messages = self.state.inline_text(self.arguments[0], self.lineno)
                container += [nodes.paragraph(self.arguments[0], "", *words), *messages]
            self.state.nested_parse(self.content, self.content_offset, container)
            return [container]

    def directive(name: str, language: Any, document: Any) -> tuple[Any, Any]:
        directive_class, messages = directive_of(name, language, document)
        if directive_class is None:
            return Unknown, []
        if isinstance(directive_class, type) and (
            spec := getattr(directive_class, "option_spec", None)
        ):
            # Sphinx knows more options.
            directive_class = type(
                directive_class.__name__, (directive_class,), {"option_spec": _AnyOption(spec)}
            )
        return directive_class, messages

    def role(name: str, language: Any, line: int, reporter: Any) -> tuple[Any, Any]:
        known, messages = role_of(name, language, line, reporter)
        return (known, messages) if known else (_words_of_role, [])

    directives.directive, roles.role = directive, role


def _words_of_role(
    name: str, raw: str, text: str, *_: object, **__: object
) -> tuple[list[Any], list[Any]]:
    del name
    nodes = needed("docutils.nodes", "reading .rst")
    words = _TARGET.sub("", text).lstrip("!")
    if words.startswith("~"):
        words = words[1:].rpartition(".")[2]
    return [nodes.inline(raw, words)], []


class _AnyOption(dict[str, Any]):
    """Options of a directive, each with any value."""

    def __bool__(self) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return str
