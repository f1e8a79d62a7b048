{#
  The seconds from one timestamp to a later one, as a floating-point number.

    {{ featurelayer._seconds_between('last_order_at', 'feature_at') }}

  To the microsecond where the engine subtracts timestamps, else to the second.
#}
{% macro _seconds_between(earlier, later) %}
    {{ return(adapter.dispatch('_seconds_between', 'featurelayer')(earlier, later)) }}
{% endmacro %}

{% macro default___seconds_between(earlier, later) %}
    {{ return('cast(' ~ dbt.datediff(earlier, later, 'second') ~ ' as ' ~ featurelayer._double() ~ ')') }}
{% endmacro %}

{% macro spark___seconds_between(earlier, later) %}
    {{ return('(unix_micros(cast(' ~ later ~ ' as timestamp)) - unix_micros(cast(' ~ earlier ~ ' as timestamp))) / 1e6') }}
{% endmacro %}

{% macro duckdb___seconds_between(earlier, later) %}
    {{ return('epoch(' ~ later ~ ' - ' ~ earlier ~ ')') }}
{% endmacro %}

{% macro postgres___seconds_between(earlier, later) %}
    {{ return('cast(extract(epoch from (' ~ later ~ ' - ' ~ earlier ~ ')) as double precision)') }}
{% endmacro %}
