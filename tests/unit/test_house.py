"""Names, sentences and structure, held to figures that may only fall: a change that raises one fails here.

Lower a limit when you reach a lower figure. Circles between modules: test_imports.py.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "featurelayer"

# --- the ratchet: today's figures; the project's limits are 2, 2, 0, 0, 8 and 10 ----------------------------------
PARTICIPLES = 0.4  # % of all functions
PREPOSITIONS = 0.0
DOCSTRINGS = 0
TWINS = 0
CLASSES = 1
WORDS = 0
PROSE = 0  # in README and docs/

PARTICIPLE = re.compile(
    r"(?!(feed|need|seed)$)\w+ed|made|held|kept|told|said|seen|found|given|sent|brought|written|drawn|taken|begun|won|"
    r"lost|met|shown|known|left|put"
)
PREPOSITION = re.compile(r"of|in|by|without|beside|at|within|around|after|before|about")
OPENINGS = re.compile(r"(What|Where|Who|How|Why|Which|When|Whether|From|Whose)\b")
PRIVATE = re.compile(r"\b(anew|whoever|nobody|somebody|mend|heed)")
# Of pages: words with a plainer one in their place, such as "set", "print" or "state" for "say", "use" for "heed".
PLAINER = re.compile(
    r"\b(say|says|said|saying|look(s|ed|ing)?(?! up\b)|heed(s|ed)?|mend(s|ed)?|anew|beside|whoever|whom|nobody|"
    r"somebody|gone|twins?|(?<!there )is no(?! longer\b)|as if|by (itself|themselves)|so many times)\b",
    re.IGNORECASE,
)
PAGES = ["README.md", "CHANGELOG.md", "macros/README.md", "dbt_project/README.md", *sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")
)]  # fmt: skip


@cache
def modules() -> dict[str, tuple[str, ast.Module]]:
    """Source and tree of every module by dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        source = path.read_text(encoding="utf-8")
        found[name] = (source, ast.parse(source))
    return found


def first_words() -> list[str]:
    """The first word of every function's name."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for _, tree in modules().values() for node in ast.walk(tree))
    names = (node.name for node in nodes if isinstance(node, functions))
    return [name.strip("_").split("_")[0] for name in names if not name.startswith("__")]


def test_functions_are_named_by_verbs_and_nouns() -> None:
    words = first_words()
    participles = [word for word in words if PARTICIPLE.fullmatch(word)]
    assert 100 * len(participles) / len(words) < PARTICIPLES + 0.05, Counter(participles).most_common(20)
    prepositions = [word for word in words if PREPOSITION.fullmatch(word)]
    assert 100 * len(prepositions) / len(words) < PREPOSITIONS + 0.05, Counter(prepositions).most_common(20)


def test_docstrings_start_with_what_a_module_is_or_does() -> None:
    found = [name for name, (_, tree) in modules().items() if OPENINGS.match(ast.get_docstring(tree) or "")]
    assert len(found) <= DOCSTRINGS, found


def test_words_are_ones_that_readers_know() -> None:
    found = Counter(
        {name: len(PRIVATE.findall(source)) for name, (source, _) in modules().items() if PRIVATE.search(source)}
    )
    assert found.total() <= WORDS, found.most_common()


def read_page(page: str) -> str:
    """Return a page without its blocks of code, which tests/docs runs and compares."""
    return re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_pages_use_plain_words() -> None:
    prose = {page: re.sub(r"`[^`\n]*`", "", read_page(page)) for page in PAGES}
    found = {page: [match[0] for match in PLAINER.finditer(text)] for page, text in prose.items()}
    assert sum(map(len, found.values())) <= PROSE, {page: words for page, words in found.items() if words}


def test_tables_of_pages_have_a_heading_over_each_column() -> None:
    for page in PAGES:
        heads = re.findall(r"^\|(.*)\|\n\| ?-", read_page(page), flags=re.MULTILINE)
        assert [head for head in heads if not all(cell.strip() for cell in head.split("|"))] == [], page


def test_a_public_class_has_a_name_of_its_own() -> None:
    places = defaultdict(set)
    for name, (_, tree) in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(name)
    double = {name: sorted(found) for name, found in places.items() if len(found) > 1}
    assert len(double) <= CLASSES, double


def test_no_module_is_the_twin_of_a_package() -> None:
    assert len([path.stem for path in PACKAGE.glob("*ing.py")]) <= TWINS


def test_fixes_start_in_lower_case_and_end_without_a_stop() -> None:
    """Those of lint's declarations are sentences of its page."""
    found = []
    for name, (_, tree) in modules().items():
        if name.startswith("featurelayer.lint"):
            continue
        for node in ast.walk(tree):
            values = fixes_passed(node) if is_call(node) else []
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "fix":
                values.append(node.value)
            for value in values:
                first, last = ends(value)
                # A name in capitals, such as DynamoDB's or an SQL keyword, stays as it is.
                if re.match(r"[A-Z][a-z]+\b", first) or re.search(r"[^.]\.$", last):
                    found.append(f"{name}:{value.lineno} {first[:40]}")
    assert not found, found


def fixes_passed(call: ast.Call) -> list[ast.expr]:
    """The fix by its name, or by its place in the helpers of `featurelayer.dbt`: what, where, fix."""
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    placed = call.args[2:3] if name in ("_config_error", "add_problem", "_add_problem") else []
    return [*placed, *(keyword.value for keyword in call.keywords if keyword.arg == "fix")]


def is_call(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call)


def ends(value: ast.expr) -> tuple[str, str]:
    """The first and the last literal part of a text; nothing for what is computed."""
    parts = value.values if isinstance(value, ast.JoinedStr) else [value]
    texts = [part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "" for part in parts]
    return texts[0], texts[-1]
