{#
  The events with keys, their time, when they were known, and what each feature aggregates.

    fl_events as ( {{ featurelayer._rolling_events(plan) }} )

  An event without a key or a time is never visible (rules 1 and 5). Events that the build can't
  know yet are left out. A microbatch also leaves out events too far from the batch to be in one of its windows.
#}
{% macro _rolling_events(plan) %}
    {%- set known = plan.event_time -%}
    {%- if plan.available_at -%}
        {%- set known = 'case when ' ~ plan.available_at ~ ' > ' ~ plan.event_time
            ~ ' then ' ~ plan.available_at ~ ' else ' ~ plan.event_time ~ ' end' -%}
    {%- endif -%}
    select
        {%- for key in plan.key_columns %}
        {{ key }},
        {%- endfor %}
        {{ plan.event_time }} as fl_at,
        {{ known }} as fl_known,
        {%- for slot in plan.slots %}
        {{ slot.sql }} as {{ slot.name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ plan.relation }}
    where {{ plan.event_time }} <= {{ featurelayer._timestamp(plan.until) }}
        {%- if plan.available_at %}
        and {{ plan.available_at }} <= {{ featurelayer._timestamp(plan.until) }}
        {%- endif %}
        {%- for key in plan.key_columns %}
        and {{ key }} is not null
        {%- endfor %}
        {%- if plan.batch %}
        and {{ plan.event_time }} < {{ featurelayer._timestamp(plan.batch[1]) }}
        {%- if not plan.grid %}
        and {{ plan.event_time }} >= {{ featurelayer._seconds_after(featurelayer._timestamp(plan.batch[0]), -plan.widest) }}
        {%- endif %}
        {%- endif %}
{% endmacro %}
