{#
  Rows with a value below `min_value` or above `max_value` (both allowed themselves). NULL is in every range.

    columns:
      - name: wind_speed
        config: {meta: {featurelayer: {range: [0, 250]}}}
        data_tests:
          - featurelayer.values_in_range                                   # reads the annotated range
          - featurelayer.values_in_range: {arguments: {min_value: 0}}

  On a model instead of a column it tests every column with an annotated range, and `column_out_of_range` names the
  column.
#}
{% test values_in_range(model, column_name=none, min_value=none, max_value=none) %}
    {{ return(adapter.dispatch('test_values_in_range', 'featurelayer')(model, column_name, min_value, max_value)) }}
{% endtest %}

{% macro default__test_values_in_range(model, column_name, min_value, max_value) %}
    {%- set view = featurelayer._tested_view() -%}
    {%- set ranges = view.ranges -%}
    {%- if min_value is not none or max_value is not none -%}
        {%- set ranges = {column_name: [min_value, max_value]} -%}
    {%- elif column_name -%}
        {%- set ranges = {column_name: view.ranges[column_name]} if column_name in view.ranges else {} -%}
    {%- endif -%}
    {%- do featurelayer._required('values_in_range', {'min_value, max_value or an annotated range': ranges or none}) -%}
with rows_of_view as (
    select * from {{ model }})
{%- for column, bounds in ranges.items() %}

{{ 'union all' if not loop.first }}
select *, '{{ column }}' as column_out_of_range
from rows_of_view
where 1 = 0
    {%- if bounds[0] is not none %} or {{ column }} < {{ bounds[0] }}{% endif %}
    {%- if bounds[1] is not none %} or {{ column }} > {{ bounds[1] }}{% endif %}
{%- else %}

select 1 as column_out_of_range where 1 = 0
{%- endfor %}
{% endmacro %}
