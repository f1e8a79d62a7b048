{#
  A timestamp a number of seconds after another one; before it, if the number is negative. `seconds` is a number or text of SQL.

    {{ featurelayer._seconds_after('fl_at', 604800) }}

  Keeps fractions of a second, which dbt-spark's dateadd truncates: an event would leave its window too early, or never.
#}
{% macro _seconds_after(moment, seconds) %}
    {{ return(adapter.dispatch('_seconds_after', 'featurelayer')(moment, seconds)) }}
{% endmacro %}

{% macro default___seconds_after(moment, seconds) %}
    {{ return(dbt.dateadd('second', seconds, moment)) }}
{% endmacro %}

{% macro spark___seconds_after(moment, seconds) %}
    {{ return('timestamp_micros(unix_micros(cast(' ~ moment ~ ' as timestamp)) + cast(' ~ seconds ~ ' as bigint) * 1000000)') }}
{% endmacro %}
