{#
  Rows whose available time is before their event time.

    data_tests:
      - featurelayer.available_not_before_event
#}
{% test available_not_before_event(model, event_time=none, available_at=none) %}
    {{ return(adapter.dispatch('test_available_not_before_event', 'featurelayer')(model, event_time, available_at)) }}
{% endtest %}

{% macro default__test_available_not_before_event(model, event_time, available_at) %}
    {%- set view = featurelayer._tested_view(event_time=event_time, available_at=available_at) -%}
    {%- do featurelayer._required(
        'available_not_before_event', {'event_time': view.event_time, 'available_at': view.available_at}
    ) -%}
select *
from {{ model }}
where {{ view.available_at or 'null' }} < {{ view.event_time or 'null' }}
{% endmacro %}
