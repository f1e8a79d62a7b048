{#
  The rows where a column is NULL, once their share of all rows reaches `rate`.

    columns:
      - name: pressure
        data_tests:
          - featurelayer.null_rate_below: {arguments: {rate: 0.15}}

  A column without a NULL passes every rate, and so does an empty relation.
#}
{% test null_rate_below(model, column_name, rate, keys=none, event_time=none) %}
    {{ return(adapter.dispatch('test_null_rate_below', 'featurelayer')(model, column_name, rate, keys, event_time)) }}
{% endtest %}

{% macro default__test_null_rate_below(model, column_name, rate, keys, event_time) %}
    {%- set view = featurelayer._tested_view(keys, event_time) -%}
with rows_of_view as (
    select * from {{ model }}
)

select {{ featurelayer._identity(view, [column_name]) }}{{ column_name }}, null_rate
from (
    select
        rows_of_view.*,
        avg(case when {{ column_name }} is null then 1.0 else 0.0 end) over () as null_rate
    from rows_of_view
) as rated
where {{ column_name }} is null and null_rate >= {{ rate }}
{% endmacro %}
