{#
  CTEs that end in fl_ranged, for PostgreSQL: the aggregates at each point by window functions with a RANGE frame.

    {{ featurelayer._rolling_frames(plan, 'fl_points') }}

  A frame's start is inclusive and the window's is not: it starts a microsecond, the resolution of a timestamp, later.
  Points carry no values, so no window counts them. Means, shares and deviations are taken of decimals, for which
  PostgreSQL need not sum a whole frame again. The neighbours in time of each
  value tell when it enters and leaves a window, and the distinct count is the running sum of these changes.
#}
{% macro _rolling_frames(plan, points) %}
    {%- set keys = plan.key_columns | join(', ') -%}
    {%- set counted = plan.columns | selectattr('agg', 'equalto', 'count_distinct') | list -%}
{%- for column in counted %}
fl_present{{ loop.index }} as (
    select {{ keys }}, fl_at,
        lag(fl_at) over fl_same as fl_before,
        lead(fl_at) over fl_same as fl_after
    from (select distinct {{ keys }}, fl_at, {{ column.slot }} from fl_events where {{ column.slot }} is not null) as seen
    window fl_same as (partition by {{ keys }}, {{ column.slot }} order by fl_at)
),

{% endfor -%}
fl_timeline as (
    select {{ keys }}, fl_at, false as fl_is_point
        {%- for slot in plan.slots %}, {{ slot.name }}{% endfor %}
        {%- for column in counted %}, 0 as fl_change{{ loop.index }}{% endfor %}
    from fl_events
    union all
    select {{ keys }}, fl_point, true
        {%- for slot in plan.slots %}, null{% endfor %}
        {%- for column in counted %}, 0{% endfor %}
    from {{ points }}
    {%- for column in counted %}
    {%- set place = loop.index %}
    {%- for change in [1, -1] %}
    {%- set width = "interval '" ~ column.window.seconds ~ " seconds'" %}
    union all
    select {{ keys }}, fl_at{{ '' if change == 1 else ' + ' ~ width }}, false
        {%- for slot in plan.slots %}, null{% endfor %}
        {%- for other in counted %}, {{ change if loop.index == place else 0 }}{% endfor %}
    from fl_present{{ place }}
    where {{ 'fl_before is null or fl_before + ' ~ width ~ ' <= fl_at' if change == 1
             else 'fl_after is null or fl_after >= fl_at + ' ~ width }}
    {%- endfor %}
    {%- endfor %}
),

fl_ranged as (
    select
        {{ keys }},
        fl_at as fl_point,
        fl_at as fl_as_of,
        {%- for column in plan.columns %}
        {{ column.name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from (
        select
            {{ keys }},
            fl_at,
            fl_is_point,
            {%- set place = namespace(at=0) %}
            {%- for column in plan.columns %}
            {%- set over = ' over fl_' ~ column.window.suffix %}
            {%- if column.agg == 'count_distinct' %}
            {%- set place.at = place.at + 1 %}
            sum(fl_change{{ place.at }}) over fl_so_far as {{ column.name }}{{ ',' if not loop.last }}
            {%- elif column.agg in ['mean', 'share', 'stddev'] %}
            cast({{ 'stddev_samp' if column.agg == 'stddev' else 'avg' }}(cast({{ column.slot }} as numeric)){{ over }} as {{ featurelayer._double() }}) as {{ column.name }}{{ ',' if not loop.last }}
            {%- else %}
            {{ featurelayer._rolling_aggregate(column.agg, column.slot, 'fl_at', over) }} as {{ column.name }}{{ ',' if not loop.last }}
            {%- endif %}
            {%- endfor %}
        from fl_timeline
        window
            {%- for window in plan.windows %}
            fl_{{ window.suffix }} as (
                partition by {{ keys }}
                order by fl_at
                range between interval '{{ window.seconds - 1 }}.999999 seconds' preceding and current row
            ),
            {%- endfor %}
            fl_so_far as (
                partition by {{ keys }} order by fl_at range between unbounded preceding and current row
            )
    ) as windows
    where fl_is_point
)
{%- endmacro %}
