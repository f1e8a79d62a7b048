{#
  The newest rows of a view whose newest event is older than `period`; for an empty view one row of NULLs.

    data_tests:
      - featurelayer.fresh_within: {arguments: {period: 6 hours}}
      - featurelayer.fresh_within                     # freshness.error_after of the annotation, else warn_after

  `as_of` judges from another time than now, for data that ended. `per_entity: true` judges each entity.
#}
{% test fresh_within(model, period=none, event_time=none, keys=none, as_of=none, per_entity=false) %}
    {{ return(adapter.dispatch('test_fresh_within', 'featurelayer')(model, period, event_time, keys, as_of, per_entity)) }}
{% endtest %}

{% macro default__test_fresh_within(model, period, event_time, keys, as_of, per_entity) %}
    {%- set view = featurelayer._tested_view(keys, event_time) -%}
    {%- set limit = view.freshness.get('error_after') or view.freshness.get('warn_after') -%}
    {%- set period = period or (limit.count ~ ' ' ~ limit.period if limit) -%}
    {%- do featurelayer._required('fresh_within', {'event_time': view.event_time, 'period': period or none}) -%}
    {%- set now = featurelayer._timestamp(as_of) if as_of else featurelayer._utc_now() -%}
    {%- set oldest = featurelayer._seconds_after(now, -featurelayer._seconds('period', period or '0 seconds')) -%}
    {%- set time = view.event_time or 'null' -%}
    {%- set keys = view.key_columns if per_entity else [] -%}
with rows_of_view as (
    select * from {{ model }}
)

select newest.newest_event_time, rows_of_view.*
from (
    select {% for key in keys %}{{ key }}, {% endfor %}max({{ time }}) as newest_event_time
    from rows_of_view
    {%- if keys %}
    where {% for key in keys %}{{ key }} is not null{{ ' and ' if not loop.last }}{% endfor %}
    group by {{ keys | join(', ') }}
    {%- endif %}
) as newest
left join rows_of_view
    on rows_of_view.{{ time }} = newest.newest_event_time
    {%- if keys %} and {{ featurelayer._same_keys('rows_of_view', 'newest', keys) }}{% endif %}
where newest.newest_event_time is null or newest.newest_event_time < {{ oldest }}
{% endmacro %}
