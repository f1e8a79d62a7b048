{#
  The short text of a duration for the end of a column's name.

    featurelayer._duration_suffix('1 day 12 hours')    -> 1d12h
#}
{% macro _duration_suffix(text) %}
    {% set parts = [] %}
    {% for count, unit in featurelayer._duration_parts(text) %}{% do parts.append(count ~ unit) %}{% endfor %}
    {{ return(parts | join('')) }}
{% endmacro %}
