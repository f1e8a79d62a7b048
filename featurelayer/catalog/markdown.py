"""Render descriptions as safe HTML: Markdown without raw HTML or images, with links to the web and mail only."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from featurelayer.errors import MissingDependency

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_LINK = re.compile(r"(https?://|mailto:)", re.IGNORECASE)
# One line of words: most descriptions. An underscore inside a word is plain text.
_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9 ,.;:()'/%+=?\"-]|(?<=\w)_(?=\w))*", re.ASCII)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@functools.cache
def render_markdown(text: str) -> Markup:
    """Render Markdown as HTML that can't run scripts, load resources or imitate the page."""
    if _is_plain(text):
        return Markup("<p>{}</p>").format(" ".join(text.split()))
    return Markup(_reader().render(text))  # noqa: S704 (raw HTML is off: all of it is escaped)


@functools.cache
def plain_text(text: str) -> str:
    """Return the words of a Markdown text on one line, without its marks."""
    if _is_plain(text):
        return " ".join(text.split())
    words: list[str] = []
    for token in _reader().parse(text):
        for child in token.children or ():
            if child.type in ("text", "code_inline"):
                words.append(child.content)
            elif child.type in ("softbreak", "hardbreak"):
                words.append(" ")
        words.append(token.content if token.type in ("fence", "code_block") else " ")
    return " ".join("".join(words).split())


def first_sentence(text: str, most: int = 160) -> str:
    """Return the first sentence of a text, cut at a word if it is long."""
    sentence = _SENTENCE.split(plain_text(text), maxsplit=1)[0]
    if len(sentence) <= most:
        return sentence
    return sentence[:most].rsplit(" ", 1)[0].rstrip(" ,;:") + " …"


def _is_plain(text: str) -> bool:
    """Whether a text has no markup, so that rendering can be skipped."""
    return _PLAIN.fullmatch(text) is not None


@functools.cache
def _reader() -> MarkdownIt:
    try:
        from markdown_it import MarkdownIt
    except ModuleNotFoundError as error:
        raise MissingDependency("markdown_it", "catalog") from error

    reader = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable("table").disable("image")
    allowed: Callable[[str], bool] = lambda url: _LINK.match(url) is not None  # noqa: E731 (an attribute, not a name)
    reader.validateLink = allowed  # type: ignore[assignment, method-assign]
    reader.add_render_rule("heading_open", _heading)
    reader.add_render_rule("heading_close", _heading)
    reader.add_render_rule("link_open", _link)
    return reader


def _heading(_self: Any, tokens: Any, position: int, _options: Any, _env: Any) -> str:
    """Render a heading as a paragraph: it must not look like a heading of the page."""
    return '<p class="h">' if tokens[position].nesting == 1 else "</p>"


def _link(self: Any, tokens: Any, position: int, options: Any, env: Any) -> str:
    tokens[position].attrSet("rel", "noopener noreferrer")
    return str(self.renderToken(tokens, position, options, env))
