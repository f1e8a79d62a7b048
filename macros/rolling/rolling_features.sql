{#
  Rolling aggregates per entity that see no future: a SELECT with one row per entity and time of change.

    {{ featurelayer.rolling_features(
        relation=ref('landed_flights'),
        keys=['carrier'],
        event_time='landed_at',
        windows=['1 day', '7 days'],
        features={
            'flights': {'agg': 'count'},
            'arr_delay_mean': {'agg': 'mean', 'of': 'arr_delay'},
            'late_share': {'agg': 'share', 'of': 'arr_delay >= 15'},
        },
    ) }}

  gives carrier, landed_at, flights_1d, arr_delay_mean_1d, late_share_1d, flights_7d, ...

  A window is (e - w, e]. In mode 'event-driven' there is a row where an event enters a window and one at e + w
  where it leaves, so the newest row at any time t holds the window (t - w, t]. In mode 'grid' there is a row
  every `every` from `start` on. With `available_at` the output has that column too: an event that became
  known late adds rows with a later available time and changes no earlier one.
  README.md explains the arguments; _rolling.yml lists them.
#}
{% macro rolling_features(
    relation, keys, event_time, windows, features,
    available_at=none, mode='event-driven', every=none, start=none, until=none
) %}
    {% set plan = featurelayer._rolling_plan(
        relation, keys, event_time, windows, features, available_at, mode, every, start, until
    ) %}
    {{ return(adapter.dispatch('rolling_features', 'featurelayer')(plan)) }}
{% endmacro %}

{# Any engine: every version of every point joined to the events of its window. #}
{% macro default__rolling_features(plan) %}
with fl_events as (
    {{ featurelayer._rolling_events(plan) }}
),

fl_points as (
    {{ featurelayer._rolling_points(plan) }}
),

fl_versions as (
    {{ featurelayer._rolling_versions(plan) }}
),

{{ featurelayer._rolling_join(plan, 'fl_versions') }}

select
    {{ featurelayer._rolling_output(plan) }}
from fl_joined
{% endmacro %}

{#
  DuckDB: window functions with a RANGE frame, one pass over the data. They can't use available times, so a point whose
  window held an event that was not yet known goes through the join.
#}
{% macro duckdb__rolling_features(plan) %}
with fl_events as (
    {{ featurelayer._rolling_events(plan) }}
),

fl_points as (
    {{ featurelayer._rolling_points(plan) }}
),

{% if plan.available_at %}
fl_versions as (
    {{ featurelayer._rolling_versions(plan) }}
),

fl_settled as (
    select {{ plan.key_columns | join(', ') }}, fl_point
    from fl_versions
    group by {{ plan.key_columns | join(', ') }}, fl_point
    having max(fl_as_of) = fl_point
),

fl_disputed as (
    select versions.*
    from fl_versions as versions
    anti join fl_settled as settled
        on {{ featurelayer._same_keys('versions', 'settled', plan.key_columns) }} and versions.fl_point = settled.fl_point
),

{{ featurelayer._rolling_join(plan, 'fl_disputed') }},
{% endif %}

{{ featurelayer._rolling_range(plan, 'fl_settled' if plan.available_at else 'fl_points') }}

select
    {{ featurelayer._rolling_output(plan) }}
from fl_ranged
{% if plan.available_at %}
union all
select
    {{ featurelayer._rolling_output(plan) }}
from fl_joined
{% endif %}
{% endmacro %}

{#
  PostgreSQL: the same with its window functions. Sums and means of decimals are updated as a frame moves; those of
  floating-point numbers would be recomputed at every row. A window can't count distinct values.
#}
{% macro postgres__rolling_features(plan) %}
with fl_events as (
    {{ featurelayer._rolling_events(plan) }}
),

fl_points as (
    {{ featurelayer._rolling_points(plan) }}
),

{% if plan.available_at %}
fl_versions as (
    {{ featurelayer._rolling_versions(plan) }}
),

fl_settled as (
    select {{ plan.key_columns | join(', ') }}, fl_point
    from fl_versions
    group by {{ plan.key_columns | join(', ') }}, fl_point
    having max(fl_as_of) = fl_point
),

fl_disputed as (
    select versions.*
    from fl_versions as versions
    where not exists (
        select 1
        from fl_settled as settled
        where {{ featurelayer._same_keys('versions', 'settled', plan.key_columns) }} and versions.fl_point = settled.fl_point
    )
),

{{ featurelayer._rolling_join(plan, 'fl_disputed') }},
{% endif %}

{{ featurelayer._rolling_frames(plan, 'fl_settled' if plan.available_at else 'fl_points') }}

select
    {{ featurelayer._rolling_output(plan) }}
from fl_ranged
{% if plan.available_at %}
union all
select
    {{ featurelayer._rolling_output(plan) }}
from fl_joined
{% endif %}
{% endmacro %}
