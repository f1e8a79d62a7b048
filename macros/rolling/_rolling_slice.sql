{#
  The number of the slice of time that a timestamp lies in.

    {{ featurelayer._rolling_slice('fl_at', 604800) }}    -- weeks since 1970
#}
{% macro _rolling_slice(moment, seconds) %}
    {{ return('floor(' ~ dbt.datediff(featurelayer._timestamp('1970-01-01'), moment, 'second') ~ ' / ' ~ seconds ~ '.0)') }}
{% endmacro %}
