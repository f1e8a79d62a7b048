"""The mutation tool: what it changes, what it leaves alone, and that it says which changes tests miss."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
mutants = importlib.util.module_from_spec(SPEC)
sys.modules["mutants"] = mutants
SPEC.loader.exec_module(mutants)


def found(source: str) -> set[str]:
    """Whole modules, each with one change."""
    text = source.encode()
    return {mutant.applied(text).decode() for mutant in mutants.find_mutants("m.py", text)}


@pytest.mark.parametrize(("source", "changed"), [
    ("a = b < c", {"a = (b <= c)"}),
    ("a = b is c", {"a = (b is not c)"}),
    ("a = b and c", {"a = (b or c)", "a = b", "a = c"}),
    ("a = not b", {"a = b"}),
    ("a = b + c", {"a = (b - c)"}),
    ("a = 7", {"a = 8"}),
    ("a = True", {"a = False"}),
    ("a = b if c else d", {"a = b", "a = d"}),
    ("a = max(b)", {"a = min(b)"}),
    ("a = f(*b, c)", {"a = f(c)"}),
    ("a = f(b, c=True)", {"a = f(b)", "a = f(b, c=False)"}),
    ("a = [*b, c]", {"a = [c]"}),
    ("f(b)", {"pass"}),
    ("def f():\n    a.b = c", {"def f():\n    pass"}),
    ("def f():\n    return b", {"def f():\n    return None"}),
    ("ä = 'ö'; a = b < c", {"ä = 'ö'; a = (b <= c)"}),
    # no behaviour, or none that anything should depend on
    ('"""Seven < 8."""', set()),
    ("a = f'{b < c}'", set()),
    ("assert b < c", set()),
    ("a: f(1)", set()),
    ("if TYPE_CHECKING:\n    f(b)", set()),
    ("def f():\n    return None", set()),
    ("a = zip(b, c, strict=True)", set()),
])  # fmt: skip
def test_every_mutation_has_an_example(source, changed):
    assert found(source) == changed


def test_a_mutant_is_named_by_its_function_and_shown_as_a_diff():
    source = b"class C:\n    def f(self):\n        return (a <\n            b)\n"
    compare = next(each for each in mutants.find_mutants("m.py", source) if "<" in each.name.partition("=>")[0])
    assert (compare.name, compare.line) == ("m.py C.f: return (a < b) => return None", 3)
    assert compare.diff(source).split() == ["-", "return", "(a", "<", "-", "b)", "+", "return", "None"]


def test_modules_and_tests_are_there():
    for module, tests in mutants.MODULES.items():
        assert (ROOT / "featurelayer" / module).is_file()
        assert all((ROOT / "tests" / name).is_file() for name in tests.split()), module


def test_equivalents_are_mutants_still():
    known = mutants.read_equivalents(mutants.EQUIVALENT.read_text().splitlines())
    modules = sorted({name.split()[0] for name in known})
    sources = {module: (ROOT / "featurelayer" / module).read_bytes() for module in modules}
    every = {each.name for module in modules for each in mutants.find_mutants(module, sources[module])}
    assert known <= every, "take these off the list, or name them as they are now"


@pytest.mark.slow
def test_what_is_noticed_and_what_is_not(tmp_path, monkeypatch, capsys):
    """On a tree of one module whose tests miss the border."""
    for name, text in {
        "featurelayer/m.py": "def is_old(age):\n    return age > 7\n",
        "tests/test_m.py": "from featurelayer.m import is_old\ndef test(): assert is_old(9) and not is_old(3)\n",
        "featurelayer/__init__.py": "", "tests/__init__.py": "", "conftest.py": "",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "MODULES", {"m.py": "test_m.py"})
    ends = mutants.try_module(tmp_path, "m.py", 100, 0, frozenset({"m.py is_old: 7 => 8"}))
    assert dict(ends) == {"caught": 1, "survived": 1, "equivalent": 1}
    shown = capsys.readouterr().out
    assert "featurelayer/m.py:2 m.py is_old: age > 7 => (age >= 7)" in shown
    assert shown.endswith("50%  1 caught, 0 timeout, 1 survived, 1 equivalent; 3 in all\n")
    assert (tmp_path / "featurelayer/m.py").read_text().endswith("return age > 7\n")
