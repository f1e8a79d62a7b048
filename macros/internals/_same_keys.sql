{#
  The condition that two aliased relations agree on every key column.

    {{ featurelayer._same_keys('p', 'e', ['airport', 'hour']) }}    -> p.airport = e.airport and p.hour = e.hour
#}
{% macro _same_keys(left, right, keys) %}
    {% set parts = [] %}
    {% for key in keys %}{% do parts.append(left ~ '.' ~ key ~ ' = ' ~ right ~ '.' ~ key) %}{% endfor %}
    {{ return(parts | join(' and ')) }}
{% endmacro %}
