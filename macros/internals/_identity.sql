{#
  The start of a test's list of output columns: the keys and the times, so that a failure names its rows.

    select {{ featurelayer._identity(view) }} arr_delay from ...
#}
{% macro _identity(view, without=[]) %}
    {%- for column in (view.key_columns + [view.event_time, view.available_at]) if column and column not in without -%}
    {{ column }}, {% endfor -%}
{% endmacro %}
