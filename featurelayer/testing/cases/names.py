"""Names that are taken elsewhere: by us, SQL, pandas or the view; and names that need quotes."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from featurelayer.testing.builders import make_view
from featurelayer.testing.case import Case
from featurelayer.testing.cases.common import CLOCKS, HOUR, NOON, one_view, several_views

ROWS = [{"e": NOON - HOUR, "x": 0}, {"e": NOON, "x": 1}, {"e": NOON, "x": 1, "c": NOON}]


def cases() -> list[Case]:
    """Return the cases of this part."""
    return [*label_names(), *feature_names(), *view_names()]


def with_columns(names: Sequence[str]) -> pa.Table:
    """Return two labels with these further columns, each with values of its own."""
    plain = {"k": ["a", "b"], "t": [NOON, NOON]}
    more = [pa.array([f"{number}", None]) for number in range(len(names))]
    return pa.Table.from_arrays([*(pa.array(values) for values in plain.values()), *more], names=[*plain, *names])


def label_names() -> list[Case]:
    """Columns of the labels that are not ours to touch."""

    def with_labels(name: str, why: str, *names: str, needs: Sequence[str] = ()) -> Case:
        return one_view(
            name,
            why,
            rows=ROWS,
            labels=with_columns(names),
            expected=[1, None],
            created_timestamp="c",
            available_at=None,
            ttl=HOUR,
            needs=needs,
        )

    return [
        with_labels(
            "label columns named like our internals",
            "A script's own columns must not meet the user's.",
            *("__fl_id", "__fl_time", "__fl_event", "__fl_at", "__fl_k0", "__fl_rank", "__fl_labels", "__fl_is_label"),
        ),
        with_labels(
            "label columns named like table aliases",
            "l, f and m are short and likely.",
            "l",
            "f",
            "m",
            "s",
            "labels",
            "v",
        ),
        with_labels(
            "label columns named like the view's columns",
            "The labels may have an event time of their own.",
            *("e", "a", "c", "until", "x"),
        ),
        with_labels(
            "label columns named like features",
            "x is not v__x, and v_x is not either.",
            "x",
            "v_x",
            "v__",
            "__x",
            "v__x_",
        ),
        with_labels(
            "label columns with reserved words",
            "Every name is quoted.",
            *("select", "from", "order", "group", "user", "table", "timestamp", "end", "null", "true"),
        ),
        with_labels(
            "label columns in Unicode",
            "Letters of any script, blanks, quotes and emoji are names.",
            *("größe", "日付", "a b", "a.b", "it's", 'sa"id', "😀", "{rows}", "a;--", "%s", "$1", ":x", "\\"),
        ),
        with_labels(
            "label columns that differ in case alone",
            "Arrow has both; most engines see one.",
            *("Note", "note", "NOTE"),
            needs=["twins"],
        ),
        with_labels("label columns that differ from a key in case alone", "K is not k.", "K", "T", needs=["twins"]),
    ]


def feature_names() -> list[Case]:
    """Features of awkward names."""

    def features(name: str, why: str, *names: str) -> Case:
        numbers = {column: number for number, column in enumerate(names)}
        return one_view(
            name,
            why,
            rows=[{"e": NOON, **numbers}, {"e": NOON - HOUR}],
            columns={"e": "timestamp", **dict.fromkeys(names, "int64")},
            features=names,
            labels=[NOON, NOON - 2 * HOUR],
            expected={f"v__{column}": [number, None] for column, number in numbers.items()},
        )

    return [
        features(
            "features ending like pandas' merge",
            "_x, _y and :1 are what joins append to equal names.",
            "a_x",
            "a_y",
            "a",
            "a:1",
        ),
        features(
            "features with reserved words", "Quoted like all names.", "select", "from", "order", "date", "value", "end"
        ),
        features(
            "features in Unicode",
            "Names that labels may have, features may have.",
            *("größe", "日付", "a b", "a.b", "it's", 'sa"id', "😀", "{rows}", "a;--", "%s"),
        ),
        features(
            "features with underscores", "v__a__b has one prefix only, the first.", "_", "__a", "a__b", "v__a", "a_"
        ),
        features(
            "features named like table aliases",
            "Names that labels may have, features may have.",
            "l",
            "f",
            "m",
            "t",
            "k0",
            "rank",
            "labels",
        ),
        one_view(
            "key and event time as features",
            "The view's own key and time may be features, too.",
            rows=[{"e": NOON, "x": 1}],
            features=("x", "k", "e"),
            labels=[NOON, NOON - HOUR],
            expected={"v__x": [1, None], "v__k": ["a", None], "v__e": [NOON, None]},
        ),
    ]


def view_names() -> list[Case]:
    """Views and roles of awkward names."""

    def with_view(name: str, why: str, view: str) -> Case:
        return one_view(name, why, view=view, rows=ROWS, labels=[NOON], expected=[1])

    upper = make_view("v", {"k": "text"}, CLOCKS, ["x"], event_time="e", online=True)
    return [
        with_view("view with a reserved word", "The names of CTEs and temporary tables come from views.", "select"),
        with_view("view in Unicode", "Blanks and letters of any script make a view's name, too.", "größe 日付"),
        with_view("view with quotes", "Quotes in a view's name are part of it.", 'it\'s "v"'),
        with_view("view named like our internals", "labels and entities are words of the script.", "labels"),
        several_views(
            "roles named like the view's tables",
            "A role called v__match meets the table of that name only if names are not kept apart.",
            joins=[(upper, "home", None), (upper, "l", None), (upper, "f", None), (upper, "m", None)],
            rows={"v": ROWS},
            labels=pa.table({"k": ["a"], "t": [NOON]}),
            expected={"home__x": [1], "l__x": [1], "f__x": [1], "m__x": [1]},
        ),
    ]
