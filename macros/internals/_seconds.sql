{#
  The seconds of a duration given as an argument; an error that names the argument when it is none.

    featurelayer._seconds('tolerance', '5 minutes')    -> 300
#}
{% macro _seconds(argument, text) %}
    {% set seconds = featurelayer._duration_seconds(text) %}
    {% if seconds is none %}
        {% do exceptions.raise_compiler_error(argument ~ ": '" ~ text ~ "' is no duration; write '30 minutes', '24 hours' or '7 days'") %}
    {% endif %}
    {{ return(seconds) }}
{% endmacro %}
