{#
  A list from a list, a single name or nothing.

    featurelayer._listed('tailnum')    -> ['tailnum']
#}
{% macro _listed(names) %}
    {{ return([] if not names else [names] if names is string else (names | list)) }}
{% endmacro %}
