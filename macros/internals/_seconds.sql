{#
  The seconds of a duration argument; raises an error with the argument's name if it is not a duration.

    featurelayer._seconds('tolerance', '5 minutes')    -> 300
#}
{% macro _seconds(argument, text) %}
    {% set seconds = featurelayer._duration_seconds(text) %}
    {% if seconds is none %}
        {% do exceptions.raise_compiler_error(argument ~ ": '" ~ text ~ "' is not a duration; write '30 minutes', '24 hours' or '7 days'") %}
    {% endif %}
    {{ return(seconds) }}
{% endmacro %}
