{#
  CTEs that end in fl_joined: each version of a point with the aggregates over its windows, as known then.

    {{ featurelayer._rolling_join(plan, 'fl_versions') }}

  Time is cut into slices as long as the widest window. A window touches at most two of them, its own and the
  one before, so both sides meet on an equality and never as a whole entity's events against all its points.
  The widest window is bounded like the others, so that its columns do not change when a wider one is added.
#}
{% macro _rolling_join(plan, versions) %}
    {%- set point = 'probes.fl_point' -%}
fl_sliced as (
    select fl_events.*, {{ featurelayer._rolling_slice('fl_at', plan.widest) }} as fl_slice
    from fl_events
),

fl_probes as (
    select versions.*, {{ featurelayer._rolling_slice('fl_point', plan.widest) }} as fl_slice
    from {{ versions }} as versions
    union all
    select versions.*, {{ featurelayer._rolling_slice('fl_point', plan.widest) }} - 1 as fl_slice
    from {{ versions }} as versions
),

fl_joined as (
    select
        {%- for key in plan.key_columns %}
        probes.{{ key }},
        {%- endfor %}
        probes.fl_point,
        probes.fl_as_of,
        {%- for column in plan.columns %}
        {%- set value = 'events.' ~ column.slot -%}
        {%- set start = featurelayer._seconds_after(point, -column.window.seconds) -%}
        {%- set value = 'case when events.fl_at > ' ~ start ~ ' then ' ~ value ~ ' end' %}
        {{ featurelayer._rolling_aggregate(column.agg, value, point) }} as {{ column.name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from fl_probes as probes
    left join fl_sliced as events
        on {{ featurelayer._same_keys('probes', 'events', plan.key_columns) }}
        and probes.fl_slice = events.fl_slice
        and events.fl_at <= {{ point }}
        and events.fl_at > {{ featurelayer._seconds_after(point, -plan.widest) }}
        and events.fl_known <= probes.fl_as_of
    group by {% for key in plan.key_columns %}probes.{{ key }}, {% endfor %}probes.fl_point, probes.fl_as_of
)
{%- endmacro %}
