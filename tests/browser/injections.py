"""Texts that would run, or be markup, wherever a page forgot to quote them.

Each that makes an element marks it ``data-planted``; each that runs calls ``alert``.
"""

import re
from collections.abc import Iterator
from itertools import cycle

from tests.browser.world import Texts

_CALL = "alert(1)"
_MARK = "data-planted"
_BREAKING_OUT = (
    *("", '">', "'>", "-->", "]]>", "</title>", "</textarea>", "</script>"),
    *("</style>", "</code></pre>", "</select>", "</svg>"),
)
_ELEMENTS = (
    f"<script {_MARK}>{_CALL}</script>",
    f"<img {_MARK} src=x onerror={_CALL}>",
    f"<svg {_MARK} onload={_CALL}>",
    f'<iframe {_MARK} srcdoc="<script>{_CALL}</script>"></iframe>',
)
_OTHERS = (
    # attributes: of whatever element the text stands in
    f'" autofocus onfocus={_CALL} x="',
    f"' autofocus onfocus={_CALL} x='",
    f'" onmouseover="{_CALL}',
    f"` onclick={_CALL} `",
    # addresses
    f"javascript:{_CALL}",
    f"JaVaScRiPt:{_CALL}",
    f"\tjavascript:{_CALL}",
    f"javascript&colon;{_CALL}",
    f"data:text/html,<script>{_CALL}</script>",
    f"vbscript:{_CALL}",
    "//evil.example/x.js",
    # templates and scripts that a page might evaluate
    "{{ 7 * 7 }}",
    "{% for x in range(9) %}x{% endfor %}",
    "${" + _CALL + "}",
    "#{" + _CALL + "}",
    f"';{_CALL};//",
    f'";{_CALL};//',
    f"\\';{_CALL};//",
    f"</script><script {_MARK}>{_CALL}</script>",
    # encodings that a careless decoder would undo
    f"&lt;img {_MARK} src=x onerror={_CALL}&gt;",
    f"&#60;img {_MARK} src=x onerror={_CALL}&#62;",
    f"%3Cimg {_MARK} src=x onerror={_CALL}%3E",
    f"\\u003cimg {_MARK} src=x onerror={_CALL}\\u003e",
    f"+ADw-script {_MARK}+AD4-{_CALL}+ADw-/script+AD4-",
    f"\uff1cscript {_MARK}\uff1e{_CALL}\uff1c/script\uff1e",
    # markup that does no harm by itself, and none of ours
    f"<base {_MARK} href=//evil.example/>",
    f"<form {_MARK} action=//evil.example><button>Sign in</button></form>",
    f"<meta {_MARK} http-equiv=refresh content=0;url=//evil.example>",
    f"<link {_MARK} rel=stylesheet href=//evil.example/x.css>",
    f"<style {_MARK}>body{{display:none}}</style>",
    f"<a {_MARK} href=javascript:{_CALL}>press</a>",
    f"<details {_MARK} open ontoggle={_CALL}>",
    f"<math {_MARK}><mi xlink:href=javascript:{_CALL}></mi></math>",
    f"<template {_MARK}><script>{_CALL}</script></template>",
    f"<object {_MARK} data=javascript:{_CALL}></object>",
    f"<!--><img {_MARK} src=x onerror={_CALL}>",
    # what turns a line around, or has no width
    "\u202egnp.exe\u202c",
    "a\u200bb\ufeffc",
)
CORPUS = tuple(
    dict.fromkeys(
        [before + element for before in _BREAKING_OUT for element in _ELEMENTS]
        + list(_OTHERS)
    )
)
NAMES = {
    "fraud": f"fraud \"'`><img {_MARK} src=x onerror={_CALL}> 😀",
    "churn": "churn %2F..?a=b&c#d+e;f\\ שלום مرحبا",
    "prices": "p" * 256,
}


class Hostile(Texts):
    """All of the corpus in each text of some length, one after the other in a line."""

    def __init__(self) -> None:
        self._next: Iterator[str] = cycle(CORPUS)

    copies = len(CORPUS)

    def prose(self, text: str, *, most: int = 4_000) -> str:
        """All of it, or as much as there is room for, going on where it ended."""
        written = text
        for _ in CORPUS:
            longer = f"{written}\n{next(self._next)}"
            if len(longer) > most:
                break
            written = longer
        return written

    def short(self, text: str) -> str:
        return f"{text} {next(self._next)}"[:100]

    def label(self, text: str) -> str:
        return re.sub(r"[/:\s]", "_", self.short(text))

    def tags(self, tags: dict[str, str]) -> dict[str, str]:
        planted = {f"t{number:03}": text for number, text in enumerate(CORPUS)}
        return {**tags, **planted}

    def name(self, name: str) -> str:
        return NAMES.get(name, name)
