"""Renders Jinja in profiles.yml, dbt_project.yml and featurelayer.yml as dbt renders configuration."""

from __future__ import annotations

import os
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import jinja2
from jinja2.nativetypes import NativeCodeGenerator, NativeTemplate
from jinja2.sandbox import SandboxedEnvironment

from featurelayer.errors import ConfigError, FeatureLayerError, Problem, did_you_mean


class Missing(jinja2.TemplateRuntimeError):
    """A name that a template needs and that was not given; a second line of the message is the fix."""

    def __init__(self, message: str | None = None) -> None:
        what, _, self.fix = (message or "").partition("\n")  # Jinja passes one message
        super().__init__(what)


class _Typed(str):
    """Text that a filter marked as Python: `{{ env_var('SCHEMAS') | as_native }}`."""

    wanted: type | tuple[type, ...] = object

    def value(self) -> Any:
        """Parse the text as a Python value; raise ValueError if it is not of the filter's type."""
        text = self.strip()
        try:
            result = literal_eval(text.capitalize() if text.lower() in ("true", "false") else text)
        except (ValueError, SyntaxError, MemoryError):
            result = str(self)
        if not isinstance(result, self.wanted) or (isinstance(result, bool) and self.wanted not in (bool, object)):
            raise ValueError(f"{str(self)!r} is not a {'truth value' if self.wanted is bool else 'number'}")
        return result


class _Number(_Typed):
    wanted = (int, float)


class _Bool(_Typed):
    wanted = bool


class _Undefined(jinja2.StrictUndefined):
    """An undefined name or key; its message uses the words of the template instead of Python's."""

    def __init__(self, hint: Any = None, obj: Any = jinja2.utils.missing, name: Any = None, exc: Any = Missing) -> None:
        super().__init__(hint, obj, name, exc)

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return str(self._undefined_hint)
        if self._undefined_obj is jinja2.utils.missing:
            meant = did_you_mean(str(self._undefined_name), ("env_var", "var", "target"))
            return f"'{self._undefined_name}' is undefined{meant}\nuse env_var(), var() or target"
        if getattr(self._undefined_obj, "__module__", "").startswith("featurelayer."):
            return (
                f"{self._undefined_obj} has no '{self._undefined_name}'\n"
                f"add `{self._undefined_name}:` to the target in profiles.yml, or correct the name"
            )
        return f"the value has no '{self._undefined_name}'\ncorrect the expression"


class _Environment(SandboxedEnvironment):
    """dbt's configuration templates: one expression keeps its type, `{{ env_var('PORT') | int }}` is a number."""

    code_generator_class = NativeCodeGenerator

    @staticmethod
    def concat(nodes: Iterable[Any]) -> Any:
        head = list(islice(iterator := iter(nodes), 2))
        if not head:
            return ""
        if len(head) == 2:
            return "".join(str(value) for value in chain(head, iterator))
        if isinstance(head[0], jinja2.Undefined):
            str(head[0])  # raises and names what is undefined
        return head[0].value() if isinstance(head[0], _Typed) else head[0]


class _Template(NativeTemplate):
    environment_class = _Environment  # type: ignore[assignment] # only its concat is used


_Environment.template_class = _Template


class JinjaRenderer:
    """Renders the strings of parsed YAML with `env_var`, `var` and `target`."""

    def __init__(self, variables: Mapping[str, Any], *, target: Any = None) -> None:
        self._environment = _Environment(undefined=_Undefined, autoescape=False)  # YAML, not HTML
        self._environment.filters.update(
            as_number=_Number, as_bool=_Bool, as_native=_Typed, as_text=str, tojson=jinja2.filters.FILTERS["tojson"]
        )
        self._variables = variables
        self._environment.globals.update(env_var=_env_var, var=self._var)
        if target is not None:
            self._environment.globals["target"] = target

    def render(self, value: Any, *, where: str, path: str = "") -> Any:
        """Return the value with every string in it rendered.

        Raises:
            ConfigError: naming each string that can't be rendered by its place, never by its value.
        """
        problems: list[Problem] = []
        rendered = self._render(value, where, path, problems)
        if problems:
            raise ConfigError(problems)
        return rendered

    def _render(self, value: Any, where: str, path: str, problems: list[Problem]) -> Any:
        if isinstance(value, dict):
            return {
                key: self._render(item, where, f"{path}.{key}" if path else str(key), problems)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._render(item, where, f"{path}[{index}]", problems) for index, item in enumerate(value)]
        if not isinstance(value, str) or ("{{" not in value and "{%" not in value):
            return value
        place = f"{where} -> {path}" if path else where
        try:
            return self._environment.from_string(value).render()
        except Missing as error:
            problems.append(Problem(what=str(error), where=place, fix=error.fix))
        except FeatureLayerError:
            raise
        except Exception as error:  # noqa: BLE001 (a template can raise anything, as any code of the user's)
            if path.rsplit(".", 1)[-1] == "password":  # like dbt: a password may merely look like Jinja
                return value
            problems.append(
                Problem(what=f"the Jinja can't be rendered: {error}", where=place, fix="correct the expression")
            )
        return None

    def _var(self, name: str, *default: Any) -> Any:
        if name in self._variables:
            return self._variables[name]
        if default:
            return default[0]
        raise Missing(
            f"var '{name}' is not set{did_you_mean(name, self._variables)}\n"
            f"Give it with --vars '{{{name}: ...}}' or under vars in dbt_project.yml."
        )


class Sealed(Mapping[str, Any]):
    """A mapping whose text names its keys and shows no value, so no secret."""

    def __init__(self, values: Mapping[str, Any], *, name: str) -> None:
        self._values, self._name = values, name

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{self._name}: {', '.join(self._values)}>"


def _env_var(name: str, default: Any = None) -> Any:
    if name in os.environ:
        return os.environ[name]
    if default is None:
        raise Missing(f"environment variable '{name}' is not set\nSet it, or give a default: env_var('{name}', '...').")
    return default
