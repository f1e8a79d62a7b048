{#
  Rows that no rule can tell apart: same keys, same times, same tie-breaker.

    data_tests:
      - featurelayer.unique_per_entity_and_time

  Without such a rule, the sort order of the rows' content decides which one a label gets.
  A row with a NULL key or time is never visible and is not tested. A static view is unique on its keys alone.
#}
{% test unique_per_entity_and_time(model, keys=none, event_time=none, available_at=none, also=none) %}
    {{ return(adapter.dispatch('test_unique_per_entity_and_time', 'featurelayer')(model, keys, event_time, available_at, also)) }}
{% endtest %}

{% macro default__test_unique_per_entity_and_time(model, keys, event_time, available_at, also) %}
    {%- set view = featurelayer._tested_view(keys, event_time, available_at) -%}
    {%- do featurelayer._required('unique_per_entity_and_time', {'keys': view.key_columns}) -%}
    {%- set needed = (view.key_columns + [view.event_time, view.available_at]) | select | list -%}
    {%- set apart = featurelayer._listed(also) or ([view.created_timestamp] | select | list) + view.tie_breaker -%}
with rows_of_view as (
    select * from {{ model }}
)

select rows_alike.*
from (
    select
        rows_of_view.*,
        count(*) over (partition by {{ (needed + apart) | unique | join(', ') or '1' }}) as row_count
    from rows_of_view
    where {% for column in needed %}{{ column }} is not null and {% endfor %}1 = 1
) as rows_alike
where row_count > 1
{% endmacro %}
