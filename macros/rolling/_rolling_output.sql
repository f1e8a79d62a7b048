{#
  The list of output columns: keys, event time, available time if there is one, features.

    select {{ featurelayer._rolling_output(plan) }} from fl_joined
#}
{% macro _rolling_output(plan) %}
    {%- for key in plan.key_columns %}{{ key }},
    {% endfor -%}
    fl_point as {{ plan.event_time }},
    {%- if plan.available_at %}
    fl_as_of as {{ plan.available_at }},
    {%- endif %}
    {%- for column in plan.columns %}
    {{ column.name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
