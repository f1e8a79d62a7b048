{#
  A timestamp literal in UTC from ISO text or a datetime; raises an error if the text is not a time.

    {{ featurelayer._timestamp('2013-06-01 12:00') }}
    {{ featurelayer._timestamp(run_started_at) }}

  Truncated to microseconds: %f has nine digits in dbt 2.
#}
{% macro _timestamp(moment) %}
    {% set text = featurelayer._moment(moment).strftime('%Y-%m-%d %H:%M:%S.%f')[:26] %}
    {{ return("cast('" ~ text ~ "' as " ~ dbt.type_timestamp() ~ ")") }}
{% endmacro %}
