"""Modules do not import each other in circles; an import that only the type checker sees counts too."""

from __future__ import annotations

import grimp


def test_no_modules_import_each_other_in_circles() -> None:
    graph = grimp.build_graph("featurelayer", exclude_type_checking_imports=False, cache_dir=None)
    assert find_circles({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}) == []


def find_circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (Tarjan's strongly connected components of more than one)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(imports[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            start = stack.index(name)
            circle = sorted(stack[start:])
            del stack[start:]
            if len(circle) > 1:
                circles.append(circle)

    for name in sorted(imports):
        if name not in index:
            visit(name)
    return circles


def test_a_circle_is_found() -> None:
    assert find_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
