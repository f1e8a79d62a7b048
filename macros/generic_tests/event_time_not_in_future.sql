{#
  Rows whose event time is later than now (or than `as_of`), plus a tolerance for clocks that run ahead.

    data_tests:
      - featurelayer.event_time_not_in_future: {arguments: {tolerance: 5 minutes}}
#}
{% test event_time_not_in_future(model, event_time=none, tolerance=none, as_of=none) %}
    {{ return(adapter.dispatch('test_event_time_not_in_future', 'featurelayer')(model, event_time, tolerance, as_of)) }}
{% endtest %}

{% macro default__test_event_time_not_in_future(model, event_time, tolerance, as_of) %}
    {%- set view = featurelayer._tested_view(event_time=event_time) -%}
    {%- do featurelayer._required('event_time_not_in_future', {'event_time': view.event_time}) -%}
    {%- set now = featurelayer._timestamp(as_of) if as_of else featurelayer._utc_now() -%}
select *
from {{ model }}
where {{ view.event_time or 'null' }} > {{ featurelayer._seconds_after(now, featurelayer._seconds('tolerance', tolerance or '0 seconds')) }}
{% endmacro %}
