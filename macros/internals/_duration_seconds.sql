{#
  The whole seconds of a duration written as text, or none if the text is not a duration.

    featurelayer._duration_seconds('7 days')            -> 604800
    featurelayer._duration_seconds('1 day 12 hours')    -> 129600

  The units are those of the annotations, from the second upwards; below a second the engines' intervals differ.
#}
{% macro _duration_seconds(text) %}
    {% set sizes = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800} %}
    {% set parts = featurelayer._duration_parts(text) %}
    {% if parts is none %}{{ return(none) }}{% endif %}
    {% set total = namespace(seconds=0) %}
    {% for count, unit in parts %}
        {% set total.seconds = total.seconds + count * sizes[unit] %}
    {% endfor %}
    {{ return(total.seconds) }}
{% endmacro %}
