"""Render the files of the site: templates with escaping always on, and static files."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import jinja2
from markupsafe import Markup, escape

from featurelayer.catalog import urls as addresses
from featurelayer.catalog.markdown import first_sentence, render_markdown
from featurelayer.catalog.site import Site
from featurelayer.catalog.values import SiteOptions
from featurelayer.durations import format_duration
from featurelayer.terminal_text import format_number, format_share

MENU = (
    ("Features", "features.html"),
    ("Views", "views.html"),
    ("Entities", "entities.html"),
    ("Services", "services.html"),
    ("Lineage", "lineage.html"),
    ("Health", "monitors.html"),
    ("Exports", "exports.html"),
    ("Changes", "changes.html"),
    ("Glossary", "glossary.html"),
)
_KINDS = ("entity", "view", "service", "owner", "tag")
_HERE = files("featurelayer.catalog")
_NEEDLESS = re.compile(
    r"^[ \t]+|</?(?:head|body)>\n|</html>\n?|</(?:li|dt|dd|td|th|tr|thead|tbody)>|</p>$", re.MULTILINE
)
_BACKTICKS = re.compile(r"`([^`\n]+)`")
_QUOTED = re.compile(r'(?<=[a-z])="([\w.-]+)"(?=[ >])', re.ASCII)


class PageRenderer:
    """The templates of one site, ready to render pages."""

    def __init__(self, site: Site, options: SiteOptions) -> None:
        registry = site.registry
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(_read_template),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
        )
        self._environment.globals |= {
            "site": {
                "title": options.title or registry.project.replace("_", " ").capitalize(),
                "project": registry.project,
                "generated": registry.generated_at,
                "generated_text": _format_timestamp(registry.generated_at),
                "menu": MENU,
                "logo": f"static/{options.logo[0]}" if options.logo else "",
                "base_url": options.base_url.rstrip("/"),
                "dbt_docs": options.dbt_docs.rstrip("/"),
                "absent": site.absent,
                "checked": site.given.findings is not None,
                "compared": site.given.changes is not None,
            },
            "paths": site.paths,
            "known_views": registry.views,
            "none_described": "not described",
            "md": render_markdown,
            "code": escape_code,
            "worded": render_backticks,
            "first_sentence": first_sentence,
            "duration": format_duration,
            "count": lambda value: "" if value is None else f"{value:,}",
            "percent": format_share,
            "number": functools.partial(format_number, digits=4),
            **{f"{kind}_path": getattr(addresses, f"{kind}_path") for kind in _KINDS},
        }
        macros = self._environment.get_template("macros.html").module
        self._environment.globals |= {
            name: macro for name, macro in vars(macros).items() if isinstance(macro, jinja2.runtime.Macro)
        }

    def page(
        self,
        path: str,
        template: str,
        values: Mapping[str, Any],
        *,
        title: str,
        summary: str = "",
        scripts: tuple[str, ...] = (),
        sheets: tuple[str, ...] = (),
        leaf: bool = False,
    ) -> tuple[str, bytes]:
        """Render a page; return its path and bytes. The menu of a `leaf`, one of thousands, is written by a script."""
        text = self._environment.get_template(template).render(
            values, path=path, title=title, summary=summary, scripts=scripts, sheets=sheets, leaf=leaf,
            root="../" * path.count("/"),
        )  # fmt: skip
        return path, text.encode()


def static_files() -> Iterator[tuple[str, bytes]]:
    """Yield our style sheets and scripts, and third-party scripts with their licences."""
    for folder in (_HERE / "static", _HERE / "static" / "vendor"):
        for file in folder.iterdir():
            if file.is_file() and PurePosixPath(file.name).suffix in (".css", ".js", ".svg", ".LICENSE"):
                yield f"static/{file.name}", file.read_bytes()


def escape_code(text: str) -> Markup:
    """Escape text between tags, without quotes: they are frequent in code and need no escape there."""
    return Markup(str(escape(text)).replace("&#34;", '"').replace("&#39;", "'"))  # noqa: S704 (the rest is escaped)


def render_backticks(text: str) -> Markup:
    """Escape a sentence of a check, with code for text in backticks."""
    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 (all of it is escaped)


@functools.cache
def _read_template(name: str) -> str:
    """Read a template, minified: indentation, optional tags and optional quotes are a tenth of every page."""
    return _QUOTED.sub(r"=\1", _NEEDLESS.sub("", (_HERE / "templates" / name).read_text(encoding="utf-8")))


def _format_timestamp(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return text
