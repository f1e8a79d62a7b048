{#
  The SQL that a feature aggregates, for one event: NULL if the event does not count.

    featurelayer._rolling_slot({'agg': 'mean', 'of': 'arr_delay', 'where': 'not diverted'}, 'landed_at')
    -> case when (not diverted) then (arr_delay) end
#}
{% macro _rolling_slot(feature, event_time) %}
    {% set agg, of, where = feature.get('agg'), feature.get('of'), feature.get('where') %}
    {% if agg == 'share' %}
        {% set sql = 'case when (' ~ of ~ ') then 1.0 else 0.0 end' %}
    {% elif agg in ['time_since_last', 'last_time'] %}
        {% set sql = event_time %}
    {% else %}
        {% set sql = '(' ~ of ~ ')' if of else '1' %}
    {% endif %}
    {{ return('case when (' ~ where ~ ') then ' ~ sql ~ ' end' if where else sql) }}
{% endmacro %}
