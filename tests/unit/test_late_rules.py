"""Rules that compile late write the URLs that Werkzeug's own rules write."""

import pytest
from werkzeug.routing import BuildError, Map, MapAdapter, Rule

from registry.web.rules import LateRule

PATHS = {
    "model": "/models/<name>",
    "version": "/models/<name>/versions/<int:number>",
    "file": "/files/<path:path>",
    "rule": "/rules/<rule>",
    "home": "/",
}


def urls_of(rule_class: type[Rule]) -> MapAdapter:
    rules = [rule_class(path, endpoint=name) for name, path in PATHS.items()]
    return Map(rules).bind("registry.example")


@pytest.mark.parametrize(
    ("endpoint", "values"),
    [
        ("home", {}),
        ("home", {"page": "2", "q": "a&b"}),
        ("model", {"name": "ø/% ?"}),
        ("model", {"name": "m", "stage": ["a", "b"]}),
        ("version", {"name": "m", "number": 12}),
        ("file", {"path": "a/b c"}),
        ("rule", {"rule": "r", "self": "s"}),
    ],
)
def test_url_is_the_one_that_werkzeugs_own_rule_writes(
    endpoint: str, values: dict[str, object]
) -> None:
    late, own = urls_of(LateRule), urls_of(Rule)

    for unknown in (True, False):
        expected = own.build(endpoint, values, append_unknown=unknown)
        assert late.build(endpoint, values, append_unknown=unknown) == expected


def test_number_that_is_none_has_no_url() -> None:
    with pytest.raises(BuildError):
        urls_of(LateRule).build("version", {"name": "m"})


def test_nothing_is_compiled_before_the_first_url_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[str] = []
    builder = Rule._compile_builder  # noqa: SLF001

    def compile_builder(rule: Rule, *options: bool) -> object:
        compiled.append(rule.rule)
        return builder(rule, *options)

    monkeypatch.setattr(Rule, "_compile_builder", compile_builder)
    urls = urls_of(LateRule)
    assert compiled == []

    for _ in range(2):
        urls.build("model", {"name": "m"}, append_unknown=False)

    assert compiled == ["/models/<name>"]
