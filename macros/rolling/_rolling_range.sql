{#
  CTEs that end in fl_ranged: the aggregates at each point by window functions with a RANGE frame.

    {{ featurelayer._rolling_range(plan, 'fl_points') }}

  A frame's start is inclusive and the window's is not: it starts a microsecond, the resolution of a
  timestamp, later. Points carry no values, so no window counts them.
#}
{% macro _rolling_range(plan, points) %}
    {%- set keys = plan.key_columns | join(', ') -%}
fl_timeline as (
    select {{ keys }}, fl_at, false as fl_is_point{% for slot in plan.slots %}, {{ slot.name }}{% endfor %}
    from fl_events
    union all
    select {{ keys }}, fl_point, true{% for slot in plan.slots %}, null{% endfor %}
    from {{ points }}
),

fl_ranged as (
    select
        {{ keys }},
        fl_at as fl_point,
        fl_at as fl_as_of,
        {%- for column in plan.columns %}
        {{ featurelayer._rolling_aggregate(column.agg, column.slot, 'fl_at', ' over fl_' ~ column.window.suffix) }} as {{ column.name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from fl_timeline
    window
        {%- for window in plan.windows %}
        fl_{{ window.suffix }} as (
            partition by {{ keys }}
            order by fl_at
            range between interval '{{ window.seconds - 1 }}.999999 seconds' preceding and current row
        ){{ ',' if not loop.last }}
        {%- endfor %}
    qualify fl_is_point
)
{%- endmacro %}
