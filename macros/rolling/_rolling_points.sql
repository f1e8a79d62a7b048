{#
  The times at which the output has rows: keys, fl_point, and fl_born, the time at which the first event of the point was
  known.

    fl_points as ( {{ featurelayer._rolling_points(plan) }} )

  Event-driven: an event enters every window at e and leaves one at e + w. Grid: every step from an entity's first
  event on; of its events only those known before all earlier ones can be the first one known.
#}
{% macro _rolling_points(plan) %}
    {%- set keys = plan.key_columns | join(', ') -%}
    {%- if plan.grid -%}
    select {{ keys }}, fl_point, min(case when fl_known > fl_point then fl_known else fl_point end) as fl_born
    from (
        select {{ keys }}, fl_at, fl_known,
            min(fl_known) over (
                partition by {{ keys }} order by fl_at, fl_known rows between unbounded preceding and 1 preceding
            ) as fl_known_before
        from fl_events
    ) as firsts
    inner join (
        select {{ featurelayer._seconds_after(
            featurelayer._timestamp(plan.grid.start),
            '(cast(generated_number as ' ~ dbt.type_int() ~ ') - 1) * ' ~ plan.grid.every
        ) }} as fl_point
        from ({{ dbt.generate_series(plan.grid.steps) }}) as steps
    ) as grid
        on grid.fl_point >= firsts.fl_at
    where (fl_known_before is null or fl_known < fl_known_before)
    {%- else -%}
    select {{ keys }}, fl_point, min(case when fl_known > fl_point then fl_known else fl_point end) as fl_born
    from (
        select {{ keys }}, fl_at as fl_point, fl_known from fl_events
        {%- for window in plan.windows %}
        union all
        select {{ keys }}, {{ featurelayer._seconds_after('fl_at', window.seconds) }} as fl_point, fl_known from fl_events
        {%- endfor %}
    ) as changes
    where fl_point <= {{ featurelayer._timestamp(plan.until) }}
    {%- endif %}
        {%- if plan.batch %}
        and fl_point >= {{ featurelayer._timestamp(plan.batch[0]) }}
        and fl_point < {{ featurelayer._timestamp(plan.batch[1]) }}
        {%- endif %}
    group by {{ keys }}, fl_point
{% endmacro %}
