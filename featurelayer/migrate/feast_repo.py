"""Read the definitions of a Feast repository from its Python, which is parsed, never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from featurelayer.migrate.values import Note

SOURCES = frozenset({
    "SnowflakeSource", "BigQuerySource", "RedshiftSource", "PostgreSQLSource", "SparkSource", "TrinoSource",
    "AthenaSource", "ClickhouseSource", "MsSqlServerSource", "FileSource", "DatabricksUCSource", "OracleSource",
})  # fmt: skip
_VIEWS = frozenset({"FeatureView", "BatchFeatureView"})
_UNMAPPED = {
    "OnDemandFeatureView": "compute it in a dbt model, or in the calling service",
    "on_demand_feature_view": "compute it in a dbt model, or in the calling service",
    "StreamFeatureView": "stream with client.write, or model the stream's table in dbt",
    "stream_feature_view": "stream with client.write, or model the stream's table in dbt",
    "RequestSource": "request data needs no feature view",
    "LabelView": "labels are a dbt model that the service names",
}
_UNKNOWN = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeastObject:
    """A defining call: its class, its arguments as values, and its place."""

    kind: str
    arguments: Mapping[str, Any]
    where: str

    def text(self, name: str) -> str:
        """Return an argument as text; empty if it is missing or unknown."""
        value = self.arguments.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A view as a service uses it: some of its features, under another name, joined on other keys."""

    view: Any
    features: tuple[str, ...] | None = None
    name: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeastRepo:
    """The definitions of a repository, in the order of its files."""

    views: tuple[FeastObject, ...]
    services: tuple[FeastObject, ...]
    notes: tuple[Note, ...]


def read_repo(folder: Path, shown: Path) -> FeastRepo:
    """Read the definitions in the Python files of a folder; `shown` is its name in messages."""
    modules = []
    notes: list[Note] = []
    for path in sorted(folder.rglob("*.py")):
        name = (shown / path.relative_to(folder)).as_posix()
        if any(part.startswith(".") or part in ("venv", "__pycache__", "tests") for part in path.parts):
            continue
        try:
            modules.append(_Module(name, ast.parse(path.read_text(encoding="utf-8"), filename=name)))
        except (SyntaxError, ValueError, RecursionError, UnicodeDecodeError) as error:
            notes.append(Note(where=name, what=f"it can't be parsed: {error}"))
    names: dict[str, tuple[_Module, ast.expr]] = {}
    for module in modules:
        for name, value in module.assigned.items():
            names.setdefault(name, (module, value))
    reader = _Reader(names)
    objects = [reader.define(module, call) for module in modules for call in module.calls]
    notes += [note for module in modules for note in module.notes]
    return FeastRepo(
        views=_drop_repeats(each for each in objects if each.kind in _VIEWS),
        services=_drop_repeats(each for each in objects if each.kind == "FeatureService"),
        notes=(*notes, *dict.fromkeys(reader.notes)),
    )


def _drop_repeats(objects: Iterator[FeastObject]) -> tuple[FeastObject, ...]:
    return tuple({each.where: each for each in objects}.values())


class _Module:
    """A file: the values of its names, and its defining calls."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name, self.assigned = name, dict[str, ast.expr]()
        self.calls: list[ast.Call] = []
        self.notes: list[Note] = []
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target = statement.targets[0]
                if isinstance(target, ast.Name):
                    self.assigned[target.id] = statement.value
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
                self.assigned[statement.target.id] = statement.value
            for node in ast.walk(statement):
                if isinstance(node, ast.Call):
                    self._record_call(node)
                elif isinstance(node, ast.FunctionDef) and any(
                    _callee_name(d) in _UNMAPPED for d in node.decorator_list
                ):
                    kind = next(_callee_name(d) for d in node.decorator_list if _callee_name(d) in _UNMAPPED)
                    self._note_unmapped(kind, node.name, node.lineno)

    def _record_call(self, node: ast.Call) -> None:
        kind = _callee_name(node)
        if kind in _VIEWS or kind == "FeatureService":
            self.calls.append(node)
        elif kind in _UNMAPPED and kind[0].isupper():
            name = next(
                (k.value.value for k in node.keywords if k.arg == "name" and isinstance(k.value, ast.Constant)), ""
            )
            self._note_unmapped(kind, str(name), node.lineno)

    def _note_unmapped(self, kind: str, name: str, line: int) -> None:
        self.notes.append(Note(where=f"{self.name}:{line}", what=f"{kind} {name}".rstrip(), advice=_UNMAPPED[kind]))


class _Reader:
    """Evaluates expressions, as far as the files define their values."""

    def __init__(self, names: Mapping[str, tuple[_Module, ast.expr]]) -> None:
        self._names = names
        self._deep = 0
        self.notes: list[Note] = []

    def define(self, module: _Module, call: ast.Call) -> FeastObject:
        """Read a defining call."""
        kind, where = _callee_name(call), f"{module.name}:{call.lineno}"
        arguments: dict[str, Any] = {}
        positional = {"Entity": ("name",), "Field": ("name", "dtype"), "Feature": ("name", "dtype")}.get(
            kind, ("name",)
        )
        for name, value in [
            *zip(positional, call.args, strict=False),
            *((keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg),
        ]:
            found = self.value(module, value)
            if found is _UNKNOWN:
                self._note_unknown(where, f"{kind}: {name} = ", value)
            else:
                arguments[name] = found
        return FeastObject(kind=kind, arguments=arguments, where=where)

    def _note_unknown(self, where: str, of: str, value: ast.expr) -> None:
        text = " ".join(ast.unparse(value).split())
        what = f"{of}{text if len(text) <= 60 else text[:57] + '...'} can't be read from the files"
        self.notes.append(Note(where=where, what=what, advice="fill it in by hand"))

    def value(self, module: _Module, node: ast.expr) -> Any:
        """Return the value of an expression, or `_UNKNOWN`."""
        self._deep += 1
        try:
            return _UNKNOWN if self._deep > 50 else self._evaluate(module, node)
        finally:
            self._deep -= 1

    def _evaluate(self, module: _Module, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                if node.id in module.assigned:
                    return self.value(module, module.assigned[node.id])
                if node.id in self._names:
                    return self.value(*self._names[node.id])
                return _Type(node.id) if node.id[:1].isupper() else _UNKNOWN
            case ast.Attribute():
                return _Type(node.attr)
            case ast.List() | ast.Tuple():
                items = [(item, self.value(module, item)) for item in node.elts]
                for item, value in items:
                    if value is _UNKNOWN:
                        self._note_unknown(f"{module.name}:{item.lineno}", "", item)
                return [value for _, value in items if value is not _UNKNOWN]
            case ast.Dict():
                pairs = [
                    (self.value(module, k), self.value(module, v))
                    for k, v in zip(node.keys, node.values, strict=True)
                    if k
                ]
                return {key: value for key, value in pairs if isinstance(key, str) and value is not _UNKNOWN}
            case ast.JoinedStr():
                parts = [self.value(module, p.value if isinstance(p, ast.FormattedValue) else p) for p in node.values]
                return _UNKNOWN if _UNKNOWN in parts else "".join(map(str, parts))
            case ast.BinOp():
                return self._evaluate_operation(module, node)
            case ast.Subscript():
                of, index = self.value(module, node.value), self.value(module, node.slice)
                return _project_view(of, features=tuple(index)) if isinstance(index, list) else _UNKNOWN
            case ast.Call():
                return self._evaluate_call(module, node)
        return _UNKNOWN

    def _evaluate_operation(self, module: _Module, node: ast.BinOp) -> Any:
        one, other = self.value(module, node.left), self.value(module, node.right)
        try:
            if isinstance(node.op, ast.Add):
                return one + other
            if isinstance(node.op, ast.Mult) and isinstance(one, int | float) and isinstance(other, int | float):
                return one * other
        except TypeError:
            return _UNKNOWN
        return _UNKNOWN

    def _evaluate_call(self, module: _Module, node: ast.Call) -> Any:
        kind = _callee_name(node)
        if kind == "timedelta":
            parts = {k.arg: self.value(module, k.value) for k in node.keywords if k.arg}
            days = self.value(module, node.args[0]) if node.args else 0
            numbers = [days, *parts.values()]
            if not all(isinstance(number, int | float) for number in numbers):
                return _UNKNOWN
            try:
                return timedelta(days, **parts) if node.args else timedelta(**parts)
            except (TypeError, OverflowError):
                return _UNKNOWN
        if kind in ("with_name", "with_join_key_map", "with_projection") and isinstance(node.func, ast.Attribute):
            of = self.value(module, node.func.value)
            given = self.value(module, node.args[0]) if node.args else _UNKNOWN
            if kind == "with_name" and isinstance(given, str):
                return _project_view(of, name=given)
            if kind == "with_join_key_map" and isinstance(given, dict):
                return _project_view(of, keys=given)
            return _UNKNOWN
        if kind == "Array" and node.args:
            return _Type(f"Array({self.value(module, node.args[0])})")
        if kind in _VIEWS | SOURCES | {"Entity", "Field", "Feature", "PushSource", "KafkaSource", "KinesisSource"}:
            return self.define(module, node)
        return _UNKNOWN


class _Type(str):
    """The name of a type or member: `Int64`, `ValueType.INT64`."""

    __slots__ = ()


def _project_view(of: Any, **more: Any) -> Any:
    from dataclasses import replace

    if isinstance(of, FeastObject) and of.kind in _VIEWS:
        of = Projection(view=of)
    return replace(of, **more) if isinstance(of, Projection) else _UNKNOWN


def _callee_name(node: ast.expr) -> str:
    """Return the last name of a callee."""
    function = node.func if isinstance(node, ast.Call) else node
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def as_list(value: Any) -> Sequence[Any]:
    """Return an argument if it is a list, else an empty list."""
    return value if isinstance(value, list) else ()
