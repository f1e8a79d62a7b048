"""The vocabulary of feature names: aggregates, windows, units and abbreviations, built in and the project's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from featurelayer.lint.settings import NamingBlock

_AGGREGATES = {
    "mean": ("avg", "average"),
    "sum": ("total",),
    "count": ("cnt", "num", "counts"),
    "min": ("minimum",),
    "max": ("maximum",),
    "median": (),
    "stddev": ("std", "stdev", "sd"),
    "variance": ("var",),
    "distinct": ("nunique", "uniq"),
}
# Words that are only aggregates; `max_speed` and `total_seats` are often properties.
SURE = frozenset({"mean", "avg", "average", "cnt", "num", "median", "stddev", "std", "stdev", "nunique"})

_UNITS = {
    "milliseconds": ("millisecond", "ms", "msec", "msecs", "millis"),
    "seconds": ("second", "sec", "secs", "s"),
    "minutes": ("minute", "min", "mins"),
    "hours": ("hour", "hr", "hrs", "h"),
    "days": ("day", "d"),
    "weeks": ("week", "wk", "wks"),
    "meters": ("meter", "metre", "metres"),
    "kilometers": ("kilometer", "kilometre", "kilometres", "km", "kms"),
    "miles": ("mile", "mi"),
    "feet": ("foot", "ft"),
    "grams": ("gram", "g"),
    "kilograms": ("kilogram", "kg", "kgs", "kilo", "kilos"),
    "USD": ("dollar", "dollars", "us dollar", "us dollars", "$", "us$"),
    "EUR": ("euro", "euros", "€"),
    "GBP": ("pound sterling", "pounds sterling", "£"),
    "percent": ("%", "pct", "per cent", "percentage"),
    "share": ("fraction", "proportion"),
    "degrees Fahrenheit": ("fahrenheit", "°f", "deg f"),
    "degrees Celsius": ("celsius", "°c", "deg c"),
    "bytes": ("byte",),
}
DIMENSIONS = (
    ("milliseconds", "seconds", "minutes", "hours", "days", "weeks"),
    ("meters", "kilometers", "miles", "feet"),
    ("grams", "kilograms"),
    ("USD", "EUR", "GBP"),
    ("percent", "share"),
    ("degrees Fahrenheit", "degrees Celsius"),
)

_SYNONYMS = {
    "account": ("acct",),
    "address": ("addr",),
    "amount": ("amt",),
    "arrival": ("arr",),
    "balance": ("bal",),
    "category": ("cat", "categ"),
    "customer": ("cust",),
    "date": ("dt",),
    "departure": ("dep",),
    "destination": ("dest",),
    "distance": ("dist",),
    "duration": ("dur",),
    "frequency": ("freq",),
    "identifier": ("id",),
    "message": ("msg",),
    "order": ("ord",),
    "payment": ("pmt", "pymt"),
    "position": ("pos",),
    "previous": ("prev",),
    "price": ("prc",),
    "product": ("prod",),
    "quantity": ("qty",),
    "reference": ("ref",),
    "revenue": ("rev",),
    "temperature": ("temp",),
    "transaction": ("txn", "trx", "tx", "transact"),
    "value": ("val", "vals"),
    "velocity": ("vel",),
}

_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86400
_PERIODS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), _SECOND),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), _MINUTE),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), _HOUR),
    **dict.fromkeys(("d", "day", "days"), _DAY),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), 7 * _DAY),
    **dict.fromkeys(("mo", "mon", "mth", "mths", "month", "months"), 30 * _DAY),
    **dict.fromkeys(("q", "qtr", "quarter", "quarters"), 91 * _DAY),
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), 365 * _DAY),
}
_LONGEST = 200
_WHOLE_WORDS = frozenset(word for word in _PERIODS if len(word) > 3) | {"day"}
_LEADS = frozenset({"last", "past", "prev", "previous", "trailing", "rolling", "l"})
_QUESTIONS = frozenset({"is", "was", "in"})
_NUMBER = r"[0-9]{1,4}"
_NUMBERED = re.compile(rf"l?({_NUMBER})([a-z]{{1,8}})$")
_LENGTH = re.compile(rf"({_NUMBER})([a-z]{{1,8}})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window in a name: its text, and its length in seconds if the text has a unit.

    `avg_val_30` has no unit and `_3m` may be minutes or months: `seconds` is None.
    """

    text: str
    seconds: int | None = None
    number: int | None = None

    @property
    def short(self) -> str:
        """The length as `30d`, in the largest unit from hours to days that has a whole number of it."""
        if self.seconds is None:
            return self.text
        for period, letter in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
            if self.seconds % period == 0:
                return f"{self.seconds // period}{letter}"
        return f"{self.seconds}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A parsed name: `what` has the words outside all other parts, `order` the parts in their order."""

    what: tuple[str, ...]
    aggregate: str = ""
    window: Window | None = None
    unit: str = ""
    order: tuple[str, ...] = ("what",)
    sure: bool = False


class Vocabulary:
    """Parses names with the project's words and the built-in ones."""

    def __init__(self, naming: NamingBlock) -> None:
        self.own_aggregates = frozenset(naming.aggregates)
        self.own_windows = naming.windows
        self.own_units = frozenset(naming.units)
        self._aggregates = _merge_words(_AGGREGATES, naming.aggregates)
        self._units = _merge_words(_UNITS, naming.units)
        self._synonyms = _merge_words(_SYNONYMS, naming.synonyms)
        self._windows = {
            word.casefold(): _length(standard)
            for standard, words in naming.windows.items()
            for word in (standard, *words)
        }
        self._parts = re.findall(r"<(\w+)>", naming.grammar)
        self._read: dict[tuple[str, str], Name] = {}
        self._words: dict[str, str] = {}

    def aggregate(self, word: str) -> str:
        """Return the standard word for an aggregate, or an empty string."""
        return self._aggregates.get(word.casefold(), "")

    def unit(self, text: str) -> str:
        """Return the standard word for a unit, or the text as it is."""
        return self._units.get(" ".join(text.casefold().split()), text)

    def is_unit(self, word: str) -> bool:
        """Whether a word is a unit, longer than a letter."""
        return len(word) > 1 and word.casefold() in self._units

    def word(self, word: str) -> str:
        """Return the standard form of any other word: no abbreviation, no plural."""
        if word not in self._words:
            self._words[word] = self._standard_word(word.casefold())
        return self._words[word]

    def _standard_word(self, lower: str) -> str:
        known = self._synonyms.get(lower) or (self._units.get(lower, "") if len(lower) > 1 else "")
        return known.casefold() or self._synonyms.get(_singular(lower), _singular(lower))

    def read(self, name: str, unit: str = "") -> Name:
        """Return a name in its parts; `unit` is the feature's declared one, which tells minutes from a minimum."""
        key = name[:_LONGEST], unit  # anything longer is not a name
        if key not in self._read:
            self._read[key] = self._read_name(*key)
        return self._read[key]

    def _read_name(self, name: str, unit: str) -> Name:
        words = [
            word for word in re.split(r"[_\W]+", _split_camel(name).casefold().replace("std_dev", "stddev")) if word
        ]
        said: dict[str, str] = {}
        parts: list[tuple[str, str]] = []
        index = 0
        window: Window | None = None
        while index < len(words):
            taken, found = self._window(words, index)
            if found is not None and not _is_moment(words, index, index + taken):
                if window is not None:  # ratio_7d_28d: only its author knows which window it means
                    return Name(what=tuple(words))
                window = found
                parts.append(("window", found.text))
                index += taken
                continue
            word = words[index]
            parts.append((self._part(word, unit, alone=len(words) == 1, said=said), word))
            index += 1
        last = parts[-1][1] if len(parts) > 1 and "aggregate" in said else ""
        if window is None and (re.fullmatch(_NUMBER, last) or is_ambiguous(last)):
            window = Window(text=last, number=int(last) if re.fullmatch(_NUMBER, last) else None)
            parts[-1] = ("window", last)
        return self._assemble(parts, window, said)

    def suggest(self, name: Name, *, aggregate: str = "", window: str = "") -> str:
        """Return the name as the grammar has it, in standard words; empty if there is none that reads the same."""
        values = {
            "what": "_".join(name.what),
            "aggregate": aggregate or (self.aggregate(name.aggregate) if name.aggregate else ""),
            "window": window or (_suggest_window(name.window) if name.window else ""),
            "unit": name.unit,
        }
        said = "_".join(values[part] for part in self._parts if values[part]) if values["what"] else ""
        # `7_avg_month` without its middle would be a window: never propose a name that reads differently.
        return said if self.read(said).what == name.what else ""

    def follows_grammar(self, name: Name) -> bool:
        """Whether the parts stand in the order of the grammar, each in one piece."""
        wanted = [part for part in self._parts if part in name.order]
        return list(name.order) == wanted

    def _part(self, word: str, unit: str, *, alone: bool, said: dict[str, str]) -> str:
        aggregate = self.aggregate(word)
        is_minutes = word == "min" and self.unit(unit) == "minutes"
        if aggregate and not alone and not is_minutes:
            said["twice" if "aggregate" in said else "aggregate"] = word
            return "aggregate"
        if "unit" in self._parts and self.is_unit(word) and not alone and "unit" not in said:
            said["unit"] = word
            return "unit"
        return "what"

    def _window(self, words: list[str], index: int) -> tuple[int, Window | None]:
        """Return how many words from here on are a window, and the window."""
        lead = 1 if words[index] in _LEADS and index + 1 < len(words) else 0
        rest = words[index + lead :]
        text = "_".join
        if (joined := words[index]) in self._windows:
            return 1, Window(text=joined, seconds=self._windows[joined])
        numbered = _NUMBERED.match(rest[0])
        if numbered and (seconds := _PERIODS.get(numbered[2])) and numbered[2] not in ("s", "q"):
            return lead + 1, Window(text=text(words[index : index + lead + 1]), seconds=int(numbered[1]) * seconds)
        if len(rest) > 1 and re.fullmatch(_NUMBER, rest[0]) and rest[1] in _PERIODS:
            end = index + lead + 2
            return lead + 2, Window(text=text(words[index:end]), seconds=int(rest[0]) * _PERIODS[rest[1]])
        if lead and rest[0] in _WHOLE_WORDS and words[index] != "l":
            return 2, Window(text=text(words[index : index + 2]), seconds=_PERIODS[rest[0]])
        return 0, None

    @staticmethod
    def _assemble(parts: list[tuple[str, str]], window: Window | None, said: Mapping[str, str]) -> Name:
        if "twice" in said:  # avg_of_max: only its author knows which of the two is the aggregate
            parts = [("what" if kind == "aggregate" else kind, word) for kind, word in parts]
            said = {key: word for key, word in said.items() if key not in ("aggregate", "twice")}
        order: list[str] = []
        for kind, _ in parts:
            if not order or order[-1] != kind:
                order.append(kind)
        aggregate = said.get("aggregate", "")
        return Name(
            what=tuple(word for kind, word in parts if kind == "what"),
            aggregate=aggregate,
            window=window,
            unit=said.get("unit", ""),
            order=tuple(order),
            sure=aggregate in SURE or (bool(aggregate) and window is not None),
        )


def _is_moment(words: list[str], start: int, end: int) -> bool:
    """Whether words name a moment instead of a window: `is_last_month`, `last_day_of_quarter`."""
    asked = start > 0 and end == len(words) and all(word in _QUESTIONS | _LEADS for word in words[:start])
    return asked or words[end : end + 1] == ["of"]


def is_ambiguous(text: str) -> bool:
    """Whether a word such as `3m` may be minutes or months."""
    return re.fullmatch(r"[0-9]{1,3}m", text) is not None


def _suggest_window(window: Window) -> str:
    return f"{window.number}d" if window.seconds is None and window.number is not None else window.short


def _length(text: str) -> int | None:
    found = _LENGTH.match(text.casefold())
    period = _PERIODS.get(found[2]) if found else None
    return int(found[1]) * period if found and period else None


def _merge_words(usual: Mapping[str, Iterable[str]], own: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return word -> standard word; the project's own words win."""
    merged = {word.casefold(): standard for standard, words in usual.items() for word in (standard, *words)}
    for standard, words in own.items():
        # The project's word replaces all its synonyms: `avg: [mean]` makes `average` an `avg`, too.
        others = {merged[word.casefold()] for word in (standard, *words) if word.casefold() in merged}
        merged |= {word: standard for word, other in merged.items() if other in others}
        merged |= {word.casefold(): standard for word in (standard, *words)}
    return merged


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _split_camel(name: str) -> str:
    if name.casefold() == name or name.upper() == name:
        return name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[a-z])(?=\d)", "_", name)
