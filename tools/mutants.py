"""Changes the critical modules in one place at a time and says which changes no test notices.

    make mutants ARGS="--module classify --count 40 --seed 7"

Each mutant is run in a copy of the working tree, never in it, by the test files that MODULES names for its module, up
to the first that fails. The same seed draws the same mutants. Mutants that change nothing that can be seen are named in
`equivalent-mutants.txt`, beside this file, each under its reason.

It says its own mutations because the tools that there are (cosmic-ray, mutmut) delete no statements, or do not draw
a sample by a seed, or change the working tree.
"""

from __future__ import annotations

import argparse
import ast
import copy
import difflib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent-mutants.txt")
CAUGHT, SURVIVED, TIMEOUT, SAME = "caught", "survived", "timeout", "equivalent"

_SERVING = "unit/test_client.py unit/test_client_options.py unit/test_export_evolution.py unit/test_corrupt_paths.py"
_SQL = "conformance/test_point_in_time.py unit/test_point_in_time.py"
# The quickest first: the first test that fails ends a run.
MODULES = {
    "verify/classify.py": "unit/test_classify.py unit/test_verify.py",
    **{
        f"monitor/monitors/{name}.py": "unit/test_monitor_checks.py unit/test_monitor.py"
        for name in (
            "categories", "coverage", "default_rate", "drift", "freshness", "null_rate", "static_changes",
            "value_range", "volume",
        )
    },
    "online/lookup_plan.py": _SERVING,
    "online/streaming.py": "unit/test_streaming.py unit/test_export_times.py",
    "online/stores/sqlite.py": "unit/test_sqlite_file.py unit/test_deadlines.py conformance/test_online_stores.py",
    "online/sqlite_file.py": "unit/test_sqlite_file.py unit/test_deadlines.py conformance/test_online_stores.py",
    "export/lease.py": "unit/test_export_lease.py unit/test_export.py",
    "export/compensation.py": "unit/test_withdraw.py unit/test_streaming.py unit/test_rollback.py",
    "lint/checks/leakage.py": "unit/test_lint_leakage.py unit/test_leakage_corpus.py",
    "sql/planner.py": f"{_SQL} unit/test_types.py unit/test_project.py",
    "sql/spine_builder.py": _SQL,
    "sql/delta.py": "unit/test_export.py unit/test_export_plan.py sql/test_golden_export.py",
    "sql/scripts/asof.py": _SQL,
    "sql/dialects/duckdb.py": f"{_SQL} sql/test_golden.py sql/test_profile_golden.py",
    "sql/scripts/match_fetch.py": f"{_SQL} conformance/test_engines.py unit/test_layer_training.py",
    "sql/scripts/materialized.py": "conformance/test_engines.py sql/test_golden.py",
    "training/append.py": "unit/test_append.py",
    "training/csv_labels.py": "unit/test_csv_labels.py unit/test_label_types.py",
    "training/lock.py": "unit/test_reproduce.py unit/test_layer_training.py",
    "export/ledger.py": "unit/test_ledger.py unit/test_rollback.py unit/test_export.py",
}  # fmt: skip

_COMPARE = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A change of a module: the bytes from `start` to `end` become `after`. `scope` is the function that it is in."""

    module: str
    scope: str
    line: int
    start: int
    end: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """What it is called in the file of equivalents; it does not change with line numbers."""
        return f"{self.module} {self.scope}: {' '.join(self.before.split())} => {' '.join(self.after.split())}"

    def applied(self, source: bytes) -> bytes:
        """Return the module with the change."""
        return source[: self.start] + self.after.encode() + source[self.end :]

    def diff(self, source: bytes) -> str:
        """Return the change as a diff without context."""
        lines = (text.decode().splitlines() for text in (source, self.applied(source)))
        return "\n".join(f"    {line}" for line in [*difflib.unified_diff(*lines, n=0, lineterm="")][3:])


class _Finder:
    """Finds every mutant of a module."""

    def __init__(self, module: str, source: bytes) -> None:
        self.module, self.source = module, source
        self.found: list[Mutant] = []
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def visit(self, node: ast.AST, scope: str = "module") -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = node.name if scope == "module" else f"{scope}.{node.name}"
            defaults = () if isinstance(node, ast.ClassDef) else (*node.args.defaults, *node.args.kw_defaults)
            for child in (*defaults, *node.body):
                if child is not None:
                    self.visit(child, name)
            return
        # Text is no matter for a mutant, and asserts and strict zips are for the reader; what only the type checker
        # reads never runs.
        if isinstance(node, ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom) or _is_strict(node):
            return
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        for other in self._others(node, scope):
            self._add(node, scope, other)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child, scope)

    def _add(self, node: ast.AST, scope: str, after: str) -> None:
        start, end = (self._starts[line - 1] + column for line, column in (
            (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
        ))  # fmt: skip
        before = self.source[start:end].decode()
        self.found.append(Mutant(module=self.module, scope=scope, line=node.lineno, start=start, end=end,
                                 before=before, after=after))  # fmt: skip

    def _others(self, node: ast.AST, scope: str) -> Iterator[str]:
        """Yield what could stand in the place of a node."""
        match node:
            case ast.Compare():
                for at, operator in enumerate(node.ops):
                    other = copy.deepcopy(node)
                    other.ops[at] = _COMPARE[type(operator)]()
                    yield _text(other)
            case ast.BoolOp():
                yield _text(ast.BoolOp(op=ast.Or() if isinstance(node.op, ast.And) else ast.And(), values=node.values))
                for at in range(len(node.values)):
                    left = node.values[:at] + node.values[at + 1 :]
                    yield _text(ast.BoolOp(op=node.op, values=left) if len(left) > 1 else left[0])
            case ast.UnaryOp(op=ast.Not()):
                yield _text(node.operand)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                yield _text(ast.BinOp(left=node.left, op=_ARITHMETIC[type(node.op)](), right=node.right))
            case ast.Constant(value=bool()):
                yield str(not node.value)
            case ast.Constant(value=int() | float()):
                yield repr(node.value + 1)
            case ast.IfExp():
                yield _text(node.body)
                yield _text(node.orelse)
            case ast.Call():
                yield from _other_calls(node)
            case ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()):
                for at, element in enumerate(node.elts):
                    if isinstance(element, ast.Starred):
                        yield _text(type(node)(elts=node.elts[:at] + node.elts[at + 1 :], ctx=node.ctx))
            # Callers seldom tell None from what is as false.
            case ast.Return(value=ast.expr()) if not _is_false(node.value):
                yield "return None"
            case ast.Raise() | ast.Continue() | ast.Break() | ast.AugAssign() | ast.Delete():
                yield "pass"
            case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom() | ast.Await()):
                yield "pass"
            case ast.Assign() if scope != "module" and not all(isinstance(each, ast.Name) for each in node.targets):
                yield "pass"


def _other_calls(node: ast.Call) -> Iterator[str]:
    if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield _text(ast.Call(func=ast.Name(id=_CALLS[node.func.id]), args=node.args, keywords=node.keywords))
    for at, argument in enumerate(node.args):
        if isinstance(argument, ast.Starred):
            yield _text(ast.Call(func=node.func, args=node.args[:at] + node.args[at + 1 :], keywords=node.keywords))
    for at, keyword in enumerate(node.keywords):
        # Others than flags can seldom be left out without an error.
        if keyword.arg is not None and isinstance(keyword.value, ast.Constant) and not _is_strict(keyword):
            yield _text(ast.Call(func=node.func, args=node.args, keywords=node.keywords[:at] + node.keywords[at + 1 :]))


def _is_strict(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def _text(node: ast.expr) -> str:
    """Return an expression as it can stand anywhere."""
    text = ast.unparse(node)
    return text if isinstance(node, ast.Call | ast.Name | ast.Constant | ast.Tuple | ast.List) else f"({text})"


def find_mutants(module: str, source: bytes) -> list[Mutant]:
    """Return every mutant of a module that can be compiled, in the order of its lines."""
    finder = _Finder(module, source)
    finder.visit(ast.parse(source))
    return sorted(
        (mutant for mutant in finder.found if _compiles(mutant.applied(source))),
        key=lambda mutant: (mutant.start, mutant.end, mutant.after),
    )


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def read_equivalents(lines: Iterable[str]) -> frozenset[str]:
    """Return the names of the mutants that nobody can tell from the original."""
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def copy_tree(target: Path) -> None:
    """Copy what git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run_tests(tree: Path, tests: Sequence[str], seconds: float) -> str:
    """Run test files up to the first that fails, and return how that ended."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0",
               *(f"tests/{name}" for name in tests)]  # fmt: skip
    shutil.rmtree(tree / ".hypothesis", ignore_errors=True)
    process = subprocess.Popen(
        command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return SURVIVED if process.wait(seconds) == 0 else CAUGHT
    except subprocess.TimeoutExpired:
        return TIMEOUT
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def try_mutant(tree: Path, mutant: Mutant, source: bytes, tests: Sequence[str], seconds: float) -> str:
    """Return how the tests end on a mutant."""
    path = tree / "featurelayer" / mutant.module
    path.write_bytes(mutant.applied(source))
    # A compiled file is known by size and second, which may be those of the mutant before.
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
    try:
        return run_tests(tree, tests, seconds)
    finally:
        path.write_bytes(source)


def try_module(tree: Path, module: str, count: int, seed: int, same: frozenset[str]) -> Counter[str]:
    """Try a sample of a module's mutants, print the survivors, and return how many ended in which way."""
    source, tests = (ROOT / "featurelayer" / module).read_bytes(), MODULES[module].split()
    every = find_mutants(module, source)
    sample = Random(f"{seed} {module}").sample(every, min(count, len(every)))
    began = time.monotonic()
    if run_tests(tree, tests, 1800) != SURVIVED:
        raise SystemExit(f"{module}: its tests fail without any mutant: {MODULES[module]}")
    seconds = 3 * (time.monotonic() - began) + 30
    ends: Counter[str] = Counter()
    for mutant in sorted(sample, key=lambda mutant: mutant.start):
        end = SAME if mutant.name in same else try_mutant(tree, mutant, source, tests, seconds)
        ends[end] += 1
        if end == SURVIVED:
            print(f"\nfeaturelayer/{module}:{mutant.line} {mutant.name}\n{mutant.diff(source)}", flush=True)
    noticed, told = ends[CAUGHT] + ends[TIMEOUT], sum(ends.values()) - ends[SAME]
    share = f"{noticed / told:.0%}" if told else "-"
    ways = ", ".join(f"{ends[way]} {way}" for way in (CAUGHT, TIMEOUT, SURVIVED, SAME))
    print(f"{module:32} {share:>4}  {ways}; {len(every)} in all", flush=True)
    return ends


def main() -> int:
    """Try a sample of every module's mutants; return 1 if one survives that is not known to change nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", action="append", default=[], help="only modules whose path has this in it")
    parser.add_argument("--count", type=int, default=20, help="how many mutants of each module (20)")
    parser.add_argument("--seed", type=int, default=0, help="draws the same mutants again (0)")
    parser.add_argument("--list", action="store_true", help="print every mutant, and run nothing")
    options = parser.parse_args()
    chosen = [name for name in MODULES if not options.module or any(part in name for part in options.module)]
    if options.list:
        for module in chosen:
            for mutant in find_mutants(module, (ROOT / "featurelayer" / module).read_bytes()):
                print(f"{mutant.line:4} {mutant.name}")
        return 0
    same = read_equivalents(EQUIVALENT.read_text(encoding="utf-8").splitlines())
    with tempfile.TemporaryDirectory(prefix="featurelayer-mutants-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        ends: Counter[str] = Counter()
        for module in chosen:
            ends += try_module(tree, module, options.count, options.seed, same)
    told = sum(ends.values()) - ends[SAME]
    if told:
        print(f"\n{told - ends[SURVIVED]} of {told} mutants were noticed ({1 - ends[SURVIVED] / told:.1%})")
    return 1 if ends[SURVIVED] else 0


if __name__ == "__main__":
    sys.exit(main())
