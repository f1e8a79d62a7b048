{#
  The warehouse's current time as a timestamp without zone, in UTC.

    where event_time > {{ featurelayer._utc_now() }}
#}
{% macro _utc_now() %}
    {{ return(adapter.dispatch('_utc_now', 'featurelayer')()) }}
{% endmacro %}

{% macro default___utc_now() %}{{ return("cast(current_timestamp at time zone 'UTC' as timestamp)") }}{% endmacro %}
{% macro snowflake___utc_now() %}{{ return('sysdate()') }}{% endmacro %}
{% macro redshift___utc_now() %}{{ return('sysdate') }}{% endmacro %}
{% macro bigquery___utc_now() %}{{ return('current_timestamp()') }}{% endmacro %}
{% macro spark___utc_now() %}{{ return('current_timestamp()') }}{% endmacro %}
{% macro clickhouse___utc_now() %}{{ return("now64(6, 'UTC')") }}{% endmacro %}
